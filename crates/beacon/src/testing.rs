//! What this crate's unit tests share.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use mainstay_settings::{File, Problem, Section, Settings, Sources, resolve};

/// What a config file with this text has for the `[beacon]` in it, and what is wrong with it.
pub(crate) fn settings(section: &'static Section, text: &str) -> (Settings, Vec<Problem>) {
    settings_of(Path::new("mainstay.toml"), section, text)
}

/// As [`settings`], of a file that lies there.
pub(crate) fn settings_of(path: &Path, section: &'static Section, text: &str) -> (Settings, Vec<Problem>) {
    let file = File::parse(path, text).unwrap();
    let sources = Sources { file: file.instances("beacon").first().copied(), ..Sources::default() };
    let mut problems = Vec::new();
    let settings = resolve(section, &sources, &mut problems);
    (settings, problems)
}
