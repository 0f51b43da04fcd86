//! What the process needs to know of a role, whichever it is.
//!
//! A new role is one more line in [`KINDS`], and a file like [`engine`] with its [`RoleKind`] and [`Configured`]. Flags, file,
//! listings, checks, probes, health, metrics and the API come of that.

mod beacon;
mod engine;
mod relay;
mod rpc;
mod sync;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::{BoxFuture, Role, Token};
use mainstay_execution::config::NodeConfig;
use mainstay_execution::forwards::Forwards;
use mainstay_node::Prepared;
use mainstay_otel::Tracer;
use mainstay_settings::{Listen, Problem, Section, Settings};
use mainstay_wire::Watched;
use mainstay_wire::client::{Attestation, BadEndpoint, asks_to_attest};
use mainstay_wire::server::Tls;
use mainstay_wire::socket::Listener;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::dropin::Extra;
use crate::probe::{Asked, Target};

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
pub(crate) static KINDS: &[RoleKind] = &[engine::KIND, sync::KIND, rpc::KIND, beacon::KIND, relay::KIND];

/// The role called `name`.
pub(crate) fn kind(name: &str) -> Option<&'static RoleKind> {
    KINDS.iter().find(|kind| kind.section.name == name)
}

/// A role whose configuration holds.
pub(crate) trait Configured: Send + Sync {
    /// What tells it from others of its kind.
    fn name(&self) -> &str;
    /// Where it listens; one place at least.
    fn listens(&self) -> Vec<Listen>;
    /// The certificates that it serves with, each with its listener, and that which it shows to nodes (`nodes`).
    fn certificates(&self) -> Vec<(String, Watched)>;
    /// Something that is wrong with the place at `nth` of [`Configured::listens`]; it names the key that `settings` have it from.
    fn listen_problem(&self, settings: &Settings, _nth: usize, what: String) -> Problem {
        settings.problem("listen", what)
    }
    /// For `mainstay check`: `3 nodes`.
    fn summary(&self) -> String;
    /// The nodes that `--probe` asks.
    fn targets(&self) -> Vec<Target>;
    /// Everyone whom it calls, each with the key that it stands under and its name; URLs are never shown.
    fn called(&self) -> Vec<(&'static str, String, &Url)>;
    /// Peers of another protocol than HTTP that it connects to, `HOST:PORT` each.
    fn peers(&self) -> Vec<String> {
        Vec::new()
    }
    /// What it keeps in a store that is reached over a network.
    fn kept(&self) -> Vec<Kept> {
        Vec::new()
    }
    /// Who judges those of them that are to prove what they run. Until it is told it refuses them.
    fn attest_by(&mut self, attest: Attestation);
    /// As what it is, for the role of its kind that runs, see [`Built::reloads`].
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    /// Builds it, inside the runtime; nothing is served yet. Fails with what to tell the user.
    fn build(self: Box<Self>, metrics: &mut Metrics) -> Result<Built, String>;
}

/// A store of a role, to be asked something that changes nothing.
pub(crate) struct Kept {
    /// Where it is, without credentials.
    pub(crate) place: String,
    /// Asks it, on a runtime, as the role would. Fails with why there was no answer.
    pub(crate) ask: BoxFuture<'static, Result<(), String>>,
}

/// What the process has for all its roles.
#[derive(Clone)]
pub(crate) struct Means {
    /// What makes spans, if they are asked for.
    pub(crate) tracer: Tracer,
    /// The metrics of `sync` that have no label for the role.
    pub(crate) forwards: Forwards,
    /// The admin listener's.
    pub(crate) token: Option<Token>,
}

/// A role's metrics, in a registry of its own that goes when the role does.
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) means: Means,
}

impl Metrics {
    /// None yet.
    pub(crate) fn new(means: Means) -> Self {
        Self { registry: Registry::default(), means }
    }
}

/// A role that can serve.
pub(crate) struct Built {
    /// What the admin listener sees of it.
    pub(crate) shown: Arc<dyn Role>,
    /// Two of it at once do harm: it serves only when the process that this one takes over from has ended.
    pub(crate) is_alone: bool,
    /// Takes other settings while it runs.
    pub(crate) prepare: Prepare,
    serve: Box<Serve>,
}

/// Checks whether a role that runs can take these settings, and prepares it; fails with every reason why not.
pub(crate) type Prepare = Arc<dyn Fn(Box<dyn Configured>) -> Result<Prepared, Vec<String>> + Send + Sync>;

type Serve = dyn FnOnce(Vec<Listener>, CancellationToken, Duration) -> BoxFuture<'static, ()> + Send;

impl Built {
    /// A role with one listener.
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(
        handle: impl Role,
        serve: impl FnOnce(Listener, CancellationToken, Duration) -> F + Send + 'static,
    ) -> Self {
        Self::with_many(handle, move |listeners: Vec<Listener>, stop, grace| async move {
            if let Some(listener) = listeners.into_iter().next() {
                serve(listener, stop, grace).await;
            }
        })
    }

    /// `handle` is the role's; `serve` does so until it is told to stop, and then for a grace what is in flight. It gets a listener for
    /// each of [`Configured::listens`], in that order.
    pub(crate) fn with_many<F: Future<Output = ()> + Send + 'static>(
        handle: impl Role,
        serve: impl FnOnce(Vec<Listener>, CancellationToken, Duration) -> F + Send + 'static,
    ) -> Self {
        let serve = Box::new(move |listeners, stop, grace| -> BoxFuture<'static, ()> {
            Box::pin(serve(listeners, stop, grace))
        });
        let prepare: Prepare = Arc::new(|_| Ok(Prepared::new(Vec::new(), || {})));
        Self { shown: Arc::new(handle), is_alone: false, prepare, serve }
    }

    /// The same, and its handle takes other settings while it runs. Without this no key of it may be live.
    pub(crate) fn reloads<C: Any>(
        self,
        prepare: impl Fn(C) -> Result<Prepared, Vec<String>> + Send + Sync + 'static,
    ) -> Self {
        let of_kind = move |config: Box<dyn Configured>| match config.into_any().downcast::<C>() {
            Ok(config) => prepare(*config),
            Err(_) => Err(vec!["these are the settings of a role of another kind".to_owned()]),
        };
        Self { prepare: Arc::new(of_kind), ..self }
    }

    /// The same, never beside another of it.
    pub(crate) fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    /// Serves until `stop`, then for `grace` at most what is in flight.
    pub(crate) fn serve(
        self,
        listeners: Vec<Listener>,
        stop: CancellationToken,
        grace: Duration,
    ) -> BoxFuture<'static, ()> {
        (self.serve)(listeners, stop, grace)
    }
}

/// The certificates of a role with one listener: what it serves with, and what it shows to nodes.
fn certificates(
    listen: &Listen,
    tls: Option<&Tls>,
    nodes: Option<&mainstay_wire::client::Tls>,
) -> Vec<(String, Watched)> {
    let served = tls.map(|tls| (listen.to_string(), tls.watched()));
    served.into_iter().chain(shown_to_nodes(nodes)).collect()
}

fn shown_to_nodes(tls: Option<&mainstay_wire::client::Tls>) -> Option<(String, Watched)> {
    tls.map(|tls| ("nodes".to_owned(), tls.watched()))
}

/// `1 node`, `3 nodes`.
fn count(nodes: usize) -> String {
    let s = if nodes == 1 { "" } else { "s" };
    format!("{nodes} node{s}")
}

/// Of [`Configured::called`] the nodes that are to prove what they run and can't be judged; with the reason.
pub(crate) fn unjudged(config: &dyn Configured, attest: Option<&Attestation>) -> Vec<(&'static str, String)> {
    let judge = |url: &Url| match attest {
        Some(attest) => attest.node(url).map(|_| ()),
        None => Err(BadEndpoint::Attested.to_string()),
    };
    let called = config.called().into_iter().filter(|(_, _, url)| asks_to_attest(url));
    called.filter_map(|(key, name, url)| Some((key, format!("{name}: {}", judge(url).err()?)))).collect()
}

/// The execution clients of a role, and who gets copies, under the key `links`.
fn called<'a>(
    execution: &'a mainstay_execution::Config,
    links: &'static str,
) -> Vec<(&'static str, String, &'a Url)> {
    let nodes = execution.nodes.iter().map(|node| ("nodes", &node.spec));
    let all = nodes.chain(execution.links.iter().map(|link| (links, &link.spec)));
    all.map(|(key, spec)| (key, spec.name.clone(), &spec.url)).collect()
}

/// The execution clients of a role; `unsigned` is what one without a secret is asked.
fn targets(execution: &mainstay_execution::Config, unsigned: Asked) -> Vec<Target> {
    let target = |node: &NodeConfig| Target {
        group: execution.name.clone(),
        name: node.spec.name.clone(),
        url: node.spec.url.clone(),
        tls: execution.tls.clone(),
        asked: node.secret.clone().map_or_else(|| unsigned.clone(), Asked::Engine),
    };
    execution.nodes.iter().map(target).collect()
}
