//! Tasks that end with what started them.

use tokio::task::AbortHandle;

/// Ends its tasks when dropped.
pub(crate) struct Tasks(Vec<AbortHandle>);

impl Tasks {
    pub(crate) fn new(handles: impl IntoIterator<Item = AbortHandle>) -> Self {
        Self(handles.into_iter().collect())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
