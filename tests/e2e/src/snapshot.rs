//! The data of an execution client as they were once.

use std::fs;
use std::path::{Path, PathBuf};

use crate::execution::{Block, Execution};
use crate::{Lab, Result};

/// A copy of a data folder.
pub struct Snapshot {
    data: PathBuf,
    copy: PathBuf,
    /// The head that it has.
    pub head: Block,
}

impl Snapshot {
    /// Ends `execution`, whose folder has its name, copies the folder and starts it anew.
    ///
    /// # Errors
    /// If it doesn't end, or doesn't come back.
    pub async fn take(lab: &Lab, execution: &mut Execution) -> Result<Snapshot> {
        let data = lab.path(execution.name());
        let copy = lab.path(&format!("{}-copy", execution.name()));
        execution.stop().await?;
        copy_folder(&data, &copy)?;
        execution.restart().await?;
        Ok(Snapshot { data, copy, head: execution.head().await? })
    }

    /// Kills `execution` and starts it with the data of the copy.
    ///
    /// # Errors
    /// If it doesn't come back.
    pub async fn restore(&self, execution: &mut Execution) -> Result<()> {
        execution.kill()?;
        fs::remove_dir_all(&self.data)?;
        copy_folder(&self.copy, &self.data)?;
        execution.restart().await
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
