//! Command lines in documents, and whether the program takes them, by what its `--help` says.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Place;
use crate::support::markdown::{Page, code_spans};

/// The program and those that it stands in for, with what comes before their arguments.
const NAMES: [(&str, &[&str]); 4] = [
    ("mainstay", &[]),
    ("executionbackup", &["engine"]),
    ("prio-load-balancer", &["rpc"]),
    ("sync-proxy", &["sync"]),
];

/// The command lines of a page with their lines: in blocks of shell and in backticks.
pub(crate) fn of(page: &Page) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for block in &page.blocks {
        // Units and files of compose name the program too.
        if ["sh", "bash", "console", "ini", "dockerfile"].iter().any(|language| block.is(language))
            || block.info.is_empty()
        {
            found.extend(in_shell(&block.text).into_iter().map(|command| (block.line, command)));
        }
    }
    for (line, text) in &page.prose {
        for code in code_spans(text) {
            if NAMES.iter().any(|(name, _)| code.starts_with(&format!("{name} "))) {
                found.extend(in_shell(&code).into_iter().map(|command| (*line, command)));
            }
        }
    }
    found
}

/// The words of every call of the program in a piece of shell.
pub(crate) fn in_shell(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for command in commands(&text.replace("\\\n", " ")) {
        let is_program = |word: &String| {
            let name = word.rsplit('/').next().unwrap_or_default();
            NAMES.iter().any(|(known, _)| name.trim_start_matches("ExecStart=") == *known)
        };
        // Variables, sudo and the like may stand before it; what it is an argument of is no call.
        let Some(at) = command.iter().position(is_program) else { continue };
        let harmless = |word: &String| {
            word.contains('=') || ["sudo", "exec", "time", "until", "if", "!"].contains(&word.as_str())
        };
        if command[..at].iter().all(harmless) {
            found.push(command[at..].to_vec());
        }
    }
    found
}

/// Splits shell into simple commands, and them into words.
fn commands(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut words) = (Vec::new(), Vec::new());
    let mut word: Option<String> = None;
    let (mut quote, mut comment) = (None, false);
    for c in text.chars().chain(['\n']) {
        if comment && c != '\n' {
            continue;
        }
        comment = false;
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => comment = true,
            (None, ' ' | '\t') => words.extend(word.take()),
            // `<(…)`, `$(…)`, pipes, lists.
            (None, '\n' | ';' | '|' | '&' | '(' | ')') => {
                words.extend(word.take());
                all.push(std::mem::take(&mut words));
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    all.retain(|words| !words.is_empty());
    all
}

/// What `--help` of a command says.
#[derive(Clone)]
struct Help {
    commands: BTreeSet<String>,
    /// With whether a value follows.
    flags: BTreeMap<String, bool>,
    positional: bool,
}

pub(crate) struct Program {
    place: Place,
    known: BTreeMap<Vec<String>, Help>,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { place: Place::new(), known: BTreeMap::new() }
    }

    /// Whether the program takes this command line, as far as names of commands and flags go.
    pub(crate) fn check(&mut self, words: &[String]) -> Result<(), String> {
        let name = words[0].rsplit('/').next().unwrap_or_default();
        let before =
            NAMES.iter().find(|(known, _)| name.ends_with(known)).map_or(&[][..], |(_, before)| before);
        let mut path: Vec<String> = before.iter().map(|&word| word.to_owned()).collect();
        let mut help = self.help(&path);
        let mut words = words[1..].iter();
        while let Some(word) = words.next() {
            // What a reader is to put something else for, and redirections.
            if word.contains('…')
                || word.starts_with(['>', '<', '$'])
                || word == "2>"
                || word.chars().all(|c| c.is_uppercase())
            {
                if word == ">" || word == "2>" {
                    words.next();
                }
                continue;
            }
            if let Some(flag) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                let (flag, value) =
                    flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value)));
                let flag = flag.trim_start_matches('-');
                let written = if flag.len() == 1 { format!("-{flag}") } else { format!("--{flag}") };
                match help.flags.get(&written) {
                    None => return Err(format!("there is no flag {written}")),
                    Some(true) if value.is_none() => {
                        words.next();
                    }
                    Some(_) => {}
                }
            } else if help.commands.contains(word) {
                path.push(word.clone());
                help = self.help(&path);
            } else if help.positional {
            } else if help.commands.is_empty() {
                return Err(format!("it takes no {word}"));
            } else {
                return Err(format!("there is no command {word}"));
            }
        }
        Ok(())
    }

    fn help(&mut self, path: &[String]) -> Help {
        if let Some(help) = self.known.get(path) {
            return help.clone();
        }
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = read(self.place.run(&arguments, &[]).fine());
        self.known.insert(path.to_vec(), help.clone());
        help
    }
}

fn read(text: &str) -> Help {
    let mut help = Help { commands: BTreeSet::new(), flags: BTreeMap::new(), positional: false };
    let mut section = "";
    for line in text.lines() {
        if !line.starts_with(' ') {
            section = line;
        }
        help.positional |= section == "Arguments:";
        let entry = line.trim_start();
        if ["Commands:", "Roles:", "Instead of running it:"].contains(&section)
            && line.starts_with("  ")
            && !line.starts_with("   ")
        {
            help.commands.extend(entry.split(' ').next().map(str::to_owned));
        }
        if entry.starts_with('-') {
            let names = entry.split("  ").next().unwrap_or_default();
            let value = names.contains('<') && !names.contains("[=");
            for name in names.split(", ").filter(|name| name.starts_with('-')) {
                let end = name.find([' ', '[', '=', '<']).unwrap_or(name.len());
                help.flags.insert(name[..end].to_owned(), value);
            }
        }
        for (_, aliases) in line.match_indices("[alias").map(|(at, _)| line.split_at(at)) {
            let names = aliases.split_once(": ").map_or("", |(_, rest)| rest);
            for name in names.split(']').next().unwrap_or_default().split(", ") {
                help.flags.insert(name.to_owned(), true);
            }
        }
    }
    help
}
