//! What the process needs to know of a role, whichever it is.
//!
//! A new role is one more line in [`KINDS`] and a file like `engine.rs` that fills in the two traits.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use mainstay_admin::Token;
use mainstay_settings::{Problem, Section, Settings};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::dropin::Extra;
use crate::probe::Target;

/// A role that this binary has.
pub(crate) struct RoleKind {
    /// Its keys; its name is the subcommand's.
    pub(crate) section: &'static Section,
    /// Flags of the program that this role can stand in for.
    pub(crate) extra: &'static [Extra],
    /// Validates one instance, secrets read.
    pub(crate) configure: Configure,
}

/// Validates the settings of one instance; what is wrong is added to the problems.
pub(crate) type Configure = fn(&Settings, &mut Vec<Problem>) -> Option<Box<dyn Configured>>;

/// Every role of this binary.
pub(crate) static KINDS: &[RoleKind] = &[crate::engine::KIND, crate::rpc::KIND];

/// The role called `name`.
pub(crate) fn kind(name: &str) -> Option<&'static RoleKind> {
    KINDS.iter().find(|kind| kind.section.name == name)
}

/// A role whose configuration holds.
pub(crate) trait Configured {
    /// What tells it from others of its kind.
    fn name(&self) -> &str;
    /// Where it listens.
    fn listen(&self) -> SocketAddr;
    /// For `mainstay check`: `3 nodes`.
    fn summary(&self) -> String;
    /// The nodes that `--probe` asks.
    fn targets(&self) -> Vec<Target>;
    /// Builds it, inside the runtime; nothing is served yet. `token` is the admin listener's. Fails with what to tell the user.
    fn build(self: Box<Self>, metrics: &mut Metrics, token: Option<&Token>)
    -> Result<Box<dyn Built>, String>;
}

/// The process's metrics: the registry, and what each kind of role has registered in it, once for all its instances.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) engine: Option<mainstay_engine::Metrics>,
    pub(crate) rpc: Option<mainstay_rpc::Metrics>,
}

/// A role that can serve.
pub(crate) trait Built: Send {
    /// What the admin listener sees of it.
    fn admin(&self) -> Arc<dyn mainstay_admin::Role>;
    /// Serves until `stop`, then for `grace` at most what is in flight.
    fn serve(
        self: Box<Self>,
        listener: TcpListener,
        stop: CancellationToken,
        grace: std::time::Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
