//! Bytes on sockets: everything mainstay says or hears over HTTP or TLS passes through this crate, which hides hyper.
//!
//! - [`envelope`]: the JSON-RPC envelope, read in one scan, bodies kept opaque
//! - [`jwt`]: tokens of the Engine API (HS256 with a shared secret)
//! - [`local`]: whether a request was made on this machine, and by nobody through it
//! - [`client`]: a pool of keep-alive connections to one endpoint, or one HTTP/2 connection to one that is far away
//! - [`body`]: reading a body with a limit
//! - [`hop`]: header fields that end at the next hop
//! - [`socket`]: sockets of long connections, unix sockets
//! - [`network`]: networks of addresses, as settings name them
//! - [`server`]: HTTP/1.1 and HTTP/2, in the clear or over TLS, with bounds, deadlines and a graceful stop
//!
//! Nothing here knows what a method means: that is the roles' business.

pub mod body;
pub mod client;
pub mod envelope;
mod framing;
pub mod hop;
mod inbox;
pub mod jwt;
pub mod local;
mod names;
pub mod network;
mod outbox;
pub mod server;
pub mod socket;
mod tls;

pub use tls::{BadTls, Watched};
