//! The folder in which fetched collateral is kept: a file for each platform, written whole or not at all.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use mainstay_attest::collateral::shelf::MAX_PLATFORMS;
use mainstay_attest::collateral::{Collateral, MAX_COLLATERAL};
use mainstay_attest::sgx::Root;
use tracing::warn;

use super::{Stored, read_file};
use crate::Missing;
use crate::settings::read_collateral;

const END: &str = ".json";

/// What is kept and still good: signed under `root` at `now`. What can't be used is passed over; it will be fetched.
pub(super) fn read(dir: &Path, root: &Root, now: SystemTime) -> Vec<Stored> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(authority) = name.to_str().and_then(authority) else { continue };
        if found.len() == MAX_PLATFORMS {
            break;
        }
        let path = entry.path();
        let collateral = read_file(&path, MAX_COLLATERAL)
            .and_then(|json| read_collateral(&path, &json))
            .and_then(|read| match read.signed_under(root, now) {
                Ok(()) => Ok(read),
                Err(why) => Err(format!("{}: {why}", path.display())),
            });
        match collateral {
            Ok(collateral) => {
                found
                    .push(Stored { authority: Some(authority.to_owned()), collateral: Arc::new(collateral) });
            }
            Err(why) => warn!(why, "kept collateral can't be used"),
        }
    }
    found
}

/// Keeps it in the place of what there is for the platform. Makes the folder.
pub(super) fn write(dir: &Path, of: Missing, collateral: &Collateral) -> Result<(), String> {
    let told = |why: std::io::Error| format!("{}: cannot be written: {why}", dir.display());
    let json = collateral.to_json().map_err(|why| why.to_string())?;
    let kind = format!("{:?}", of.kind).to_lowercase();
    let name = format!("{kind}-{}-{}", of.platform.fmspc, of.platform.authority);
    fs::create_dir_all(dir).map_err(told)?;
    // Two processes may do so at once.
    let temporary = dir.join(format!("{name}.{}.new", std::process::id()));
    fs::write(&temporary, json)
        .and_then(|()| fs::rename(&temporary, dir.join(format!("{name}{END}"))))
        .map_err(told)
}

/// The authority in a file's name, `sgx-00A067110000-platform.json`.
fn authority(name: &str) -> Option<&str> {
    let mut parts = name.strip_suffix(END)?.splitn(3, '-');
    let (kind, fmspc, authority) = (parts.next()?, parts.next()?, parts.next()?);
    (matches!(kind, "sgx" | "tdx") && fmspc.len() == 12).then_some(authority)
}
