//! Where a value came from, and what is wrong with it.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line; the flag as it was written in full, with its dashes.
    Flag(String),
    /// The environment; the variable's name.
    Variable(String),
    /// The config file. `line` counts from 1; 0 stands for the whole file.
    File {
        /// As it was given.
        path: PathBuf,
        /// From 1; 0: the file as a whole.
        line: usize,
    },
    /// Nobody set it.
    Default,
    /// Added at run time.
    Api,
}

impl Origin {
    /// `path` as this origin means it: one in a file is relative to that file's folder, any other to
    /// the working directory.
    pub fn locate(&self, path: &Path) -> PathBuf {
        match self {
            Self::File { path: file, .. } => match file.parent() {
                Some(folder) => folder.join(path),
                None => path.to_owned(),
            },
            Self::Flag(_) | Self::Variable(_) | Self::Default | Self::Api => path.to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Api => f.write_str("API"),
        }
    }
}

/// One thing that is wrong with the configuration: where, what key, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the wrong value stands.
    pub origin: Origin,
    /// The key as messages call it, `[engine] majority`; empty where the origin says it all.
    pub key: String,
    /// What is wrong and what would be right. Never a secret.
    pub what: String,
}

impl fmt::Display for Problem {
    /// `mainstay.toml:7: [engine] majority: 1.5 is not between 0 and 1`; for a flag or a variable
    /// its name alone says which key. One line: control characters of what it quotes are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, what } = self;
        let told = match origin {
            Origin::Flag(_) | Origin::Variable(_) => format!("{origin}: {what}"),
            Origin::Default | Origin::Api if key.is_empty() => what.clone(),
            Origin::Default | Origin::Api => format!("{key}: {what}"),
            Origin::File { .. } if key.is_empty() => format!("{origin}: {what}"),
            Origin::File { .. } => format!("{origin}: {key}: {what}"),
        };
        for c in told.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Puts problems into the order in which a reader meets them: flags, variables, the file by line,
/// then what is missing. Equal ones keep their order.
pub fn sort_problems(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| match &problem.origin {
        Origin::Flag(_) => (0, 0),
        Origin::Variable(_) => (1, 0),
        Origin::File { line, .. } => (2, *line),
        Origin::Default => (3, 0),
        Origin::Api => (4, 0),
    });
}

/// Parts of the names of parameters whose values are secret.
const SECRET: [&str; 4] = ["password", "secret", "token", "key"];

/// A part of a path that is as long as this and has a digit is taken for a provider's API key.
const KEY: usize = 20;

/// Whether a part of a URL's path looks like an API key, which is where providers have it.
pub fn is_key(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    part.len() >= KEY && part.bytes().all(is_plain) && part.bytes().any(|byte| byte.is_ascii_digit())
}

/// `text` with what is secret in every URL in it replaced, so that it can be shown: user and password, what looks like an API
/// key in its path, and the values of parameters such as `?api_key=`.
pub fn redact(text: &str) -> String {
    without_secret_parameters(&without_keys_in_paths(&without_users(text)))
}

fn without_secret_parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['?', '&']) {
        let (before, after) = rest.split_at(start + 1);
        shown.push_str(before);
        rest = after;
        let Some((name, value)) = after.split_once('=') else { continue };
        let is_name = !name.contains(['?', '&', '#', '/', ',', ' ', '"']);
        let lower = name.to_ascii_lowercase();
        if is_name && SECRET.iter().any(|secret| lower.contains(secret)) {
            shown.push_str(name);
            shown.push_str("=<set>");
            let reach = reach(value);
            rest = &value[value[..reach].find(['&', '#']).unwrap_or(reach)..];
        }
    }
    shown.push_str(rest);
    shown
}

fn without_keys_in_paths(text: &str) -> String {
    const ENDS: [char; 6] = ['/', '?', '#', ',', ' ', '"'];
    let mut shown = String::with_capacity(text.len());
    let (mut is_host, mut in_path) = (false, false);
    for part in text.split_inclusive(ENDS) {
        let word = part.trim_end_matches(ENDS);
        shown.push_str(if in_path && is_key(word) { "<set>" } else { word });
        shown.push_str(&part[word.len()..]);
        in_path = part.ends_with('/') && (in_path || is_host);
        is_host = shown.ends_with("://");
    }
    shown
}

fn without_users(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        shown.push_str(before);
        let end = after.find(['/', '?', '#', ',', ' ', '"']).unwrap_or(after.len());
        match after[..end].rfind('@').or_else(|| after[..reach(after)].rfind('@')) {
            Some(at) => {
                shown.push_str("<set>");
                rest = &after[at..];
            }
            None => rest = after,
        }
    }
    shown.push_str(rest);
    shown
}

/// Up to where a secret may reach, which may itself hold what else ends a part of a URL: a blank or the next URL of a list.
fn reach(text: &str) -> usize {
    let next = text.find("://").and_then(|next| text[..next].rfind(','));
    text.find([' ', '"']).unwrap_or(text.len()).min(next.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (text, shown) in [
            ("http://127.0.0.1:8551#name=a", "http://127.0.0.1:8551#name=a"),
            ("http://me:pw@h:1/x", "http://<set>@h:1/x"),
            ("http://me:p/w@h:1", "http://<set>@h:1"),
            ("http://a,https://me@b", "http://a,https://<set>@b"),
            ("http://me:p,w@h,https://b", "http://<set>@h,https://b"),
            ("no url @ all", "no url @ all"),
            ("http://h/?API_KEY=k&_workers=8#name=a", "http://h/?API_KEY=<set>&_workers=8#name=a"),
            (
                "redis-sentinel://h/m?db=1&sentinel_password=a=b",
                "redis-sentinel://h/m?db=1&sentinel_password=<set>",
            ),
            ("http://h?token=a,b?c,http://i?d=e", "http://h?token=<set>,http://i?d=e"),
            ("http://h/?a=b?password=c#d \"http://i/\"", "http://h/?a=b?password=<set>#d \"http://i/\""),
            ("https://x/v3/0123456789hunter23456789abcd?a", "https://x/v3/<set>?a"),
            ("https://x/v3/0123456789hunter23456789abcd,http://y", "https://x/v3/<set>,http://y"),
            (
                "https://0123456789abcdef0123456789/ethereum-mainnet-archive-node/v1#name=/0123456789abcdefghij",
                "",
            ),
            ("/var/lib/0123456789abcdef0123456789/state", ""),
            ("http://a#jwt-secret=jwt.hex", "http://a#jwt-secret=jwt.hex"),
        ] {
            assert_eq!(redact(text), if shown.is_empty() { text } else { shown });
        }
    }

    #[test]
    fn a_problem_says_where_and_what() {
        let mut problem = Problem {
            origin: Origin::File { path: "mainstay.toml".into(), line: 7 },
            key: "[engine] majority".into(),
            what: "1.5 is not between 0 and 1".into(),
        };
        assert_eq!(problem.to_string(), "mainstay.toml:7: [engine] majority: 1.5 is not between 0 and 1");
        problem.origin = Origin::Flag("--majority".into());
        assert_eq!(problem.to_string(), "--majority: 1.5 is not between 0 and 1");
        problem.origin = Origin::Default;
        assert_eq!(problem.to_string(), "[engine] majority: 1.5 is not between 0 and 1");
    }

    #[test]
    fn a_problem_is_one_line_whatever_it_quotes() {
        let problem = Problem {
            origin: Origin::Flag("--listen".into()),
            key: String::new(),
            what: "\"loca\thost\r\n\u{1b}[2J\u{85}é\" is not an address".into(),
        };
        assert_eq!(problem.to_string(), r#"--listen: "loca\thost\r\n\u{1b}[2J\u{85}é" is not an address"#);
    }

    #[test]
    fn a_path_in_a_file_is_relative_to_that_file() {
        let origin = Origin::File { path: "/etc/mainstay/mainstay.toml".into(), line: 1 };
        let located = |origin: &Origin, path: &str| origin.locate(Path::new(path));
        assert_eq!(located(&origin, "jwt.hex"), Path::new("/etc/mainstay/jwt.hex"));
        assert_eq!(located(&origin, "/x/jwt.hex"), Path::new("/x/jwt.hex"));
        assert_eq!(located(&Origin::Default, "jwt.hex"), Path::new("jwt.hex"));
    }
}
