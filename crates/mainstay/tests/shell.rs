//! Completions as shells take them, manual pages as man does.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "it runs programs with the PATH that it has")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::Place;

/// What bash offers for these words, the last of which is being typed.
fn completed(place: &Place, words: &[&str]) -> Vec<String> {
    let script = r#"
source ./completions.bash
complete -p mainstay >/dev/null || exit 9
compopt() { :; } # there is no completion under way that it could be about
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_mainstay mainstay "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).args(words).current_dir(place.path());
    let done = bash.output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_words() {
    let place = Place::new();
    let script = place.run(&["completions", "bash"], &[]).fine().to_owned();
    place.file("completions.bash", &script);
    place.file("mine.toml", "");
    assert_eq!(completed(&place, &["mainstay", "stat"]), ["status"]);
    let commands = completed(&place, &["mainstay", ""]);
    for command in ["run", "engine", "sync", "rpc", "beacon", "relay", "check", "doctor", "man"] {
        assert!(commands.iter().any(|it| it == command), "{command} is not in {commands:?}");
    }
    let flags = completed(&place, &["mainstay", "status", "--w"]);
    assert_eq!(flags, ["--watch"]);
    let flags = completed(&place, &["mainstay", "engine", "--jwt"]);
    assert_eq!(flags, ["--jwt-secret"]);
    assert_eq!(completed(&place, &["mainstay", "run", "--log-format", "logf"]), ["logfmt"]);
    assert_eq!(completed(&place, &["mainstay", "relay", "tun"]), ["tunnel"]);
    assert_eq!(completed(&place, &["mainstay", "run", "--config", "mine"]), ["mine.toml"]);
}

#[test]
fn every_shell_has_a_script_with_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell], &[]).fine().to_owned();
        for word in ["mainstay", "healthcheck", "jwt-secret", "tunnel"] {
            assert!(script.contains(word), "{word} is not in that of {shell}");
        }
        // Whether the shell can read it, where there is one.
        let checked = match shell {
            "bash" | "zsh" => Some("-n"),
            "fish" => Some("--no-execute"),
            _ => None,
        };
        let file = place.file(&format!("script.{shell}"), &script);
        if let Some(flag) = checked
            && let Ok(done) = Command::new(shell).arg(flag).arg(&file).output()
        {
            assert!(done.status.success() && done.stderr.is_empty(), "{shell}: {done:?}");
        }
    }
    let done = place.run(&["completions", "tcsh"], &[]);
    assert!(done.status == Some(2) && done.err.contains("bash, zsh, fish"), "{}", done.err);
}

#[test]
fn manual_pages_are_written_and_man_reads_them() {
    let place = Place::new();
    assert_eq!(place.run(&["man", "pages/man1"], &[]).fine(), "");
    let folder = place.path().join("pages/man1");
    let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(place.run(&["man"], &[]).fine(), page("mainstay.1"));
    assert!(page("mainstay.1").contains("mainstay\\-engine(1)"));
    assert!(page("mainstay-relay-tunnel.1").contains("\\-\\-listen"));
    assert!(page("mainstay-engine.1").contains("fcu\\-majority"), "what another program called a flag");

    let runs = |program: &str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if !runs("man") {
        eprintln!("there is no man here: pages are not read by it");
        return;
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = read(&path);
        let name = path.file_stem().unwrap().to_str().unwrap();
        for part in ["NAME", "SYNOPSIS", "DESCRIPTION", name] {
            assert!(text.contains(part), "{part} is not on {name}: {text}");
        }
    }

    let place_without = place.file("file", "");
    let done = place.run(&["man", place_without.to_str().unwrap()], &[]);
    assert!(
        done.status == Some(1) && done.err.starts_with("error: ") && done.err.contains("cannot be written"),
        "{}",
        done.err
    );
}

/// The page as a reader sees it; man has nothing to complain of.
fn read(path: &Path) -> String {
    let mut man = Command::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l"]).arg(path);
    man.env("MANWIDTH", "100")
        .env("MANROFFSEQ", "")
        .env("PAGER", "cat")
        .env("MAN_KEEP_FORMATTING", "")
        .env("LC_ALL", "C.UTF-8");
    let done = man.output().unwrap();
    // Long words, in flags' values, can't be helped.
    let complaints = String::from_utf8_lossy(&done.stderr);
    let complaints: String = complaints.lines().filter(|line| !line.contains("can't break line")).collect();
    assert!(done.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
    String::from_utf8_lossy(&done.stdout).into_owned()
}
