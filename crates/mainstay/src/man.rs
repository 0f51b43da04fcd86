//! `mainstay man`: manual pages, from the same tables as the command line itself.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, ValueHint};
use clap_mangen::Man;

use crate::cli;
use crate::show::print;

/// Its command line.
pub(crate) fn subcommand() -> Command {
    Command::new("man")
        .about("Print the manual page, or write one for every command")
        .after_help(
            "mainstay man | man -l -\nThe Debian package has them: man mainstay, man mainstay-engine.",
        )
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .value_hint(ValueHint::DirPath)
                .help("A folder for all pages: mainstay.1, mainstay-engine.1, mainstay-relay-tunnel.1…"),
        )
}

/// Runs it. Status 1 if pages can't be written.
pub(crate) fn command(matches: &ArgMatches) -> ExitCode {
    let pages = pages();
    let Some(dir) = matches.get_one::<String>("dir") else {
        return print(pages.first().map_or("", |page| page.text.as_str()));
    };
    match write(&pages, Path::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((path, why)) => {
            eprintln!("error: {}: cannot be written: {why}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn write(pages: &[Page], dir: &Path) -> Result<(), (PathBuf, io::Error)> {
    std::fs::create_dir_all(dir).map_err(|why| (dir.to_owned(), why))?;
    for page in pages {
        let path = dir.join(&page.name);
        std::fs::write(&path, &page.text).map_err(|why| (path, why))?;
    }
    Ok(())
}

/// A page.
struct Page {
    /// Of its file: `mainstay-engine.1`.
    name: String,
    text: String,
}

/// The page of every command, mainstay's own first.
fn pages() -> Vec<Page> {
    let mut command = cli::command("mainstay").disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, "mainstay", &mut pages);
    pages
}

fn add(command: &Command, name: &str, pages: &mut Vec<Page>) {
    pages.push(Page { name: format!("{name}.1"), text: text(command, name) });
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        add(sub, &format!("{name}-{}", sub.get_name()), pages);
    }
}

fn text(command: &Command, name: &str) -> String {
    // Roles are called as the program is in `--version`; a page is called as its command.
    let command = command.clone().display_name(name.to_owned()).mut_args(with_aliases);
    let source = concat!("mainstay ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).title(name.to_uppercase()).source(source).manual("mainstay");
    let mut roff = Vec::new();
    // Nothing can go wrong with a vector.
    let _ = man.render(&mut roff);
    String::from_utf8_lossy(&roff).replace("\n.SH EXTRA\n", "\n.SH NOTES\n")
}

/// Names that another program had for a flag stand beside it, as in `--help`.
fn with_aliases(arg: Arg) -> Arg {
    let Some(aliases) = arg.get_visible_aliases() else { return arg };
    let aliases: Vec<String> = aliases.iter().map(|alias| format!("--{alias}")).collect();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    arg.help(format!("{help} [aliases: {}]", aliases.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Every flag of every command, by its own walk.
    fn flags(command: &Command, name: &str, all: &mut Vec<(String, String)>) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let longs = arg.get_long().into_iter().chain(arg.get_visible_aliases().into_iter().flatten());
            all.extend(longs.map(|long| (format!("{name}.1"), long.to_owned())));
        }
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            flags(sub, &format!("{name}-{}", sub.get_name()), all);
        }
    }

    #[test]
    fn every_command_has_a_page_with_its_flags() {
        let mut command = cli::command("mainstay");
        command.build();
        let mut all = Vec::new();
        flags(&command, "mainstay", &mut all);
        let pages = pages();
        for (name, long) in &all {
            let page =
                pages.iter().find(|page| page.name == *name).unwrap_or_else(|| panic!("no page {name}"));
            let written = format!("\\-\\-{}", long.replace('-', "\\-"));
            assert!(page.text.contains(&written), "--{long} is not in {name}");
        }
        assert!(all.len() > 500, "only {} flags were found", all.len());
        let mut names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names[0], "mainstay.1");
        for name in
            ["mainstay-engine.1", "mainstay-relay-tunnel.1", "mainstay-status.1", "mainstay-check-rpc.1"]
        {
            assert!(names.contains(&name), "{names:?}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "two pages of one name");
    }
}
