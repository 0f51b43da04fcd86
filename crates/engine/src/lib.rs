//! The `engine` role: one consensus client (CL) drives many execution clients (EL) over the Engine API.
//!
//! Every EL gets every call, the answer is what they agree on, and no EL's failure is felt. See the folder's README for
//! the rules; how the ELs are driven is `mainstay_execution`'s, here are the role's settings, its listener and ExecutionBackup's
//! routes.

pub mod config;
pub mod dropin;
pub mod engine;
mod exposition;
pub mod handle;
pub mod service;
mod tokens;

pub use config::{Config, SECTION};
pub use engine::{Engine, Metrics};
pub use handle::{Handle, Snapshot};
pub use mainstay_node::{Level, Operated, Refused};
