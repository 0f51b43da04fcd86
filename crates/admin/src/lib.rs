//! The admin listener: health for orchestrators, metrics for Prometheus, a small REST API that shows every role and
//! its nodes and lets nodes be added, removed, cordoned and drained while mainstay runs, and a page that does the same for people.
//!
//! Roles are known only by the form of their handles ([`mainstay_node::role`]). What may be asked is one table
//! (`endpoints.rs`), from which both the router and the OpenAPI document are made; who may change anything is one pure
//! function (`access.rs`). Connections, their number and their deadlines are `mainstay_wire::server`'s.

mod access;
mod changes;
mod clock;
mod endpoints;
mod explain;
mod handlers;
mod history;
mod lifecycle;
mod live;
mod openapi;
mod reload;
mod reply;
mod role;
mod server;
mod ui;

pub use access::{Caller, Refusal, Token, WeakToken, judge};
pub use explain::{Explain, Unexplained};
pub use lifecycle::{Lifecycle, Phase};
pub use openapi::document as openapi;
pub use reload::{Changed, Outcome, Reload, Reloaded};
pub use role::{BoxFuture, Page, Role, Roles};
pub use server::{Admin, serve, serve_metrics};
