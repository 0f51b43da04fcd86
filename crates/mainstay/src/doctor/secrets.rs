//! Files that hold secrets: are they there, are they what they should be, and who else may read them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use mainstay_settings::{Kind, Settings};
use mainstay_wire::jwt::Secret;

use super::finding::Findings;

/// Keys whose file nobody else should read.
const SECRET: [&str; 4] = ["jwt_secret", "token_file", "tls_key", "proxy_key"];
const JWT: &str = "jwt_secret";
/// What stands before a node's own secret.
const OPTION: &str = "#jwt-secret=";

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretFile {
    pub(super) path: PathBuf,
    /// Where the settings name it.
    pub(super) named: String,
    /// What is wrong with its content as a JWT secret; `None`: nothing, or it is another kind of secret.
    pub(super) fault: Option<String>,
    /// Owner and mode, or why it can't be looked at.
    pub(super) about: Result<About, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) uid: u32,
    pub(super) mode: u32,
}

/// Looks at every file that the settings name, once each.
pub(super) fn observe<'a>(all: impl Iterator<Item = &'a Settings>) -> Vec<SecretFile> {
    let mut files: Vec<SecretFile> = Vec::new();
    for (path, is_jwt, named) in all.flat_map(named) {
        if files.iter().any(|file| file.path == path) {
            continue;
        }
        let about = fs::metadata(&path).map(|about| About { uid: about.uid(), mode: about.mode() & 0o7777 });
        let fault = match &about {
            Ok(_) if is_jwt => Secret::from_file(&path).err().map(|why| why.to_string()),
            _ => None,
        };
        files.push(SecretFile { path, named, fault, about: about.map_err(|why| why.to_string()) });
    }
    files
}

/// Every file that `settings` name: path, whether it is a JWT secret, and where it is named.
fn named(settings: &Settings) -> Vec<(PathBuf, bool, String)> {
    let mut files = Vec::new();
    for key in settings.section().keys {
        match key.kind {
            Kind::Path if SECRET.contains(&key.name) => {
                if let Some(path) = settings.path(key.name) {
                    files.push((path.to_owned(), key.name == JWT, settings.origin(key.name).to_string()));
                }
            }
            Kind::Tables(_) => files.extend(settings.tables(key.name).iter().flat_map(named)),
            Kind::List(_) => {
                for (index, item) in settings.list(key.name).iter().enumerate() {
                    let origin = settings.item_origin(key.name, index);
                    files.extend(of_node(item).map(|path| (origin.locate(&path), true, origin.to_string())));
                }
            }
            Kind::Text | Kind::Url => {
                let origin = settings.origin(key.name);
                let own = settings.text(key.name).and_then(of_node);
                files.extend(own.map(|path| (origin.locate(&path), true, origin.to_string())));
            }
            _ => {}
        }
    }
    files
}

/// The file that a node's URL names.
fn of_node(text: &str) -> Option<PathBuf> {
    let (_, rest) = text.split_once(OPTION)?;
    rest.split('#').next().filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// `us`: the user whose files these may be, besides root's.
pub(super) fn judge(files: &[SecretFile], us: u32, findings: &mut Findings<'_>) {
    for file in files {
        let of = file.path.display().to_string();
        let named = &file.named;
        let About { uid, mode } = match &file.about {
            Ok(about) => *about,
            Err(why) => {
                let remedy = format!(
                    "put it there, or mend the path in {named}; the user that runs mainstay must be able to read it"
                );
                findings.fail(of, why.as_str(), remedy);
                continue;
            }
        };
        if let Some(fault) = &file.fault {
            let what = fault.strip_prefix(&format!("{of}: ")).unwrap_or(fault);
            let remedy = format!("openssl rand -hex 32 > {of} makes a new one; the node needs the same");
            findings.fail(of, what, remedy);
            continue;
        }
        if mode & 0o002 != 0 {
            let remedy = format!("chmod 640 {of}, and make a new one: it may have been changed");
            findings.fail(of, format!("everybody on this machine may write it (mode {mode:04o})"), remedy);
        } else if mode & 0o004 != 0 {
            let remedy = format!("chmod 640 {of}, with the group of whoever else needs it");
            findings.warn(of, format!("everybody on this machine may read it (mode {mode:04o})"), remedy);
        } else if uid != 0 && uid != us {
            let remedy =
                format!("chown root {of}, with a group that mainstay is in: its owner can change it");
            findings.warn(of, format!("belongs to another user (uid {uid}, mode {mode:04o})"), remedy);
        } else {
            findings.ok(of, format!("uid {uid}, mode {mode:04o}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight;
    use super::*;

    #[test]
    fn who_may_read_and_write_a_secret() {
        let file = |about: Result<(u32, u32), &str>, fault: Option<&str>| SecretFile {
            path: "/s/jwt.hex".into(),
            named: "m.toml:3".to_owned(),
            fault: fault.map(str::to_owned),
            about: about.map(|(uid, mode)| About { uid, mode }).map_err(str::to_owned),
        };
        let cases = [
            (file(Ok((1000, 0o600)), None), Weight::Ok, "uid 1000, mode 0600"),
            (file(Ok((0, 0o640)), None), Weight::Ok, "uid 0, mode 0640"),
            (
                file(Ok((1000, 0o644)), None),
                Weight::Warn,
                "everybody on this machine may read it (mode 0644)",
            ),
            (
                file(Ok((1000, 0o602)), None),
                Weight::Fail,
                "everybody on this machine may write it (mode 0602)",
            ),
            (file(Ok((1001, 0o600)), None), Weight::Warn, "belongs to another user (uid 1001, mode 0600)"),
            (
                file(Ok((0, 0o600)), Some("/s/jwt.hex: a JWT secret is 64 digits")),
                Weight::Fail,
                "a JWT secret is 64 digits",
            ),
            (file(Err("No such file"), None), Weight::Fail, "No such file"),
        ];
        for (file, weight, what) in cases {
            let mut all = Vec::new();
            judge(std::slice::from_ref(&file), 1000, &mut Findings { area: "secrets", all: &mut all });
            assert_eq!(all.len(), 1);
            assert_eq!(
                (all[0].weight, all[0].what.as_str(), all[0].of.as_str()),
                (weight, what, "/s/jwt.hex")
            );
            assert_eq!(all[0].remedy.is_empty(), weight == Weight::Ok, "{:?}", all[0]);
        }
    }

    #[test]
    fn a_nodes_own_secret_is_found_in_its_url() {
        let of = |text| of_node(text).map(|path| path.display().to_string());
        assert_eq!(of("http://el1:8551#name=a#jwt-secret=/s/a.hex#timeout=5"), Some("/s/a.hex".to_owned()));
        assert_eq!(of("http://el1:8551#jwt-secret="), None);
        assert_eq!(of("http://el1:8551"), None);
    }
}
