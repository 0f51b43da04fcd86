//! Containers, built without a service.

use std::path::PathBuf;
use std::process::Command;

use crate::{both, installed};

/// Buildah with a store of its own, which is gone at the end.
pub struct Buildah {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Buildah {
    /// `None` where no container can be built, and that is said.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = installed("buildah").or_else(|| {
            eprintln!("there is no buildah here: no container is built");
            None
        })?;
        if !rustix::process::geteuid().is_root() {
            eprintln!("a container's file system can be looked into by root only: none is built");
            return None;
        }
        let buildah = Self { folder: tempfile::tempdir().unwrap(), program };
        let tried = buildah.command(&["from", "scratch"]).output().unwrap();
        if !tried.status.success() {
            eprintln!("no container can be made here: {}", both(&tried));
            return None;
        }
        Some(buildah)
    }

    /// It with these arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--storage-driver", "vfs"]);
        command.arg("--root").arg(self.folder.path().join("store"));
        command.arg("--runroot").arg(self.folder.path().join("run"));
        command.args(arguments);
        command
    }

    /// What it prints, without the end of the last line.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn fine(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "buildah {arguments:?}: {}", both(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
