//! Evidence: what is kept of a split vote or of a late dissent, so that its owner (and the client's authors) can see who
//! said what, and ask again.
//!
//! One JSON file a record, readable by eye, named by its id, whose order is that of time. Requests and replies are in it
//! as they went over the wire. Nodes are named, never located: no URL, header or token gets in.
//!
//! Everything here blocks on the disk: call [`Store::save`] through `spawn_blocking`.
//!
//! - [`Record`]: what is kept, and its JSON
//! - [`Store`]: the directory, bounded by count and bytes
//! - [`commands`]: what `mainstay evidence` prints

pub mod commands;
mod id;
mod record;
mod store;

pub use id::Id;
pub use record::{Body, MAX_BODY, Record, Reply};
pub use store::{Entry, Store, StoreError, list, load};

#[cfg(test)]
mod tests;
