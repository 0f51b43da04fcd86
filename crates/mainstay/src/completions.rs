//! `mainstay completions`: for a shell, from the same tables as the command line itself.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, ValueHint};
use clap_complete::Shell;

use crate::cli;
use crate::show::print;

/// The name that is completed. Programs that mainstay stands in for have completions of their own.
const NAME: &str = "mainstay";
const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

/// Its command line.
pub(crate) fn subcommand() -> Command {
    Command::new("completions")
        .about("Print the completions of a shell: commands, flags, and words that a flag takes")
        .after_help(
            "bash: mainstay completions bash > ~/.local/share/bash-completion/completions/mainstay\n\
             zsh:  mainstay completions zsh > a folder of $fpath/_mainstay\n\
             fish: mainstay completions fish > ~/.config/fish/completions/mainstay.fish\n\
             The Debian package has them.",
        )
        .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(SHELLS).help("Which shell"))
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches) -> ExitCode {
    let name = matches.get_one::<String>("shell").map_or("", String::as_str);
    let Ok(shell) = name.parse::<Shell>() else { return ExitCode::from(crate::WRONG_CONFIG) };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut hinted(cli::command(NAME)), NAME, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The command with what completes values. It isn't part of the command line itself: there values are text, for the table's reader to judge.
fn hinted(mut command: Command) -> Command {
    let subcommands: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in subcommands {
        command = command.mut_subcommand(name, hinted);
    }
    command.mut_args(|arg| {
        let Some([name]) = arg.get_value_names() else { return arg };
        let name = name.as_str().trim_end_matches(",…").to_owned();
        match name.as_str() {
            "PATH" | "FILE" => arg.value_hint(ValueHint::FilePath),
            "DIR" => arg.value_hint(ValueHint::DirPath),
            "URL" => arg.value_hint(ValueHint::Url),
            "BOOL" => arg.value_parser(PossibleValuesParser::new(["true", "false"])),
            words if is_choice(words) => {
                arg.value_parser(PossibleValuesParser::new(words.split('|').map(str::to_owned)))
            }
            _ => arg,
        }
    })
}

/// Whether a placeholder names words to choose from, and nothing else: `text|json`, but not `DURATION|off`.
fn is_choice(placeholder: &str) -> bool {
    placeholder.contains('|') && !placeholder.contains(|c: char| c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_command_line_with_hints_is_sound() {
        hinted(cli::command(NAME)).debug_assert();
    }

    #[test]
    fn words_of_a_flag_are_known() {
        let command = hinted(cli::command(NAME));
        let run = command.find_subcommand("run").unwrap();
        let of = |flag: &str| {
            let arg = run.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
            let words = arg.get_possible_values();
            (words.iter().map(|word| word.get_name().to_owned()).collect::<Vec<_>>(), arg.get_value_hint())
        };
        let (formats, _) = of("log-format");
        assert!(formats.iter().any(|word| word == "logfmt"), "{formats:?}");
        assert_eq!(of("config"), (Vec::new(), ValueHint::FilePath));
        assert!(is_choice("a|b") && !is_choice("DURATION|off") && !is_choice("word"));
    }
}
