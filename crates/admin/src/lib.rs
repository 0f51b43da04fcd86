//! The admin listener: health for orchestrators, metrics for Prometheus, and a small REST API that shows every role and
//! its nodes and lets nodes be added, removed, cordoned and drained while mainstay runs.
//!
//! Roles are known only by the form of their handles ([`mainstay_node::role`]). What may be asked is one table
//! (`endpoints.rs`), from which both the router and the OpenAPI document are made; who may change anything is one pure
//! function (`access.rs`). Connections, their number and their deadlines are `mainstay_wire::server`'s.

mod access;
mod endpoints;
mod handlers;
mod lifecycle;
mod openapi;
mod reply;
mod role;
mod server;

pub use access::{Caller, Refusal, Token, WeakToken, judge};
pub use lifecycle::{Lifecycle, Phase};
pub use openapi::document as openapi;
pub use role::{BoxFuture, Role};
pub use server::{Admin, serve, serve_metrics};
