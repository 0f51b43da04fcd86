//! Everything that can be asked, as one table: the router and the OpenAPI document are made from it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, get, on};

use crate::access::{By, Caller, Refusal, judge};
use crate::reply::Error;
use crate::server::{Peer, Site};
use crate::{Page, explain, handlers, reload, ui};

/// One method on one path.
pub(crate) struct Endpoint {
    pub(crate) verb: Verb,
    /// With its parameters in braces, as both axum and OpenAPI have them.
    pub(crate) path: &'static str,
    /// The OpenAPI operation's name.
    pub(crate) operation: &'static str,
    pub(crate) summary: &'static str,
    /// Whether it changes something, so that the caller must be one who may.
    pub(crate) writes: bool,
    /// The schema of the request's body.
    pub(crate) takes: Option<&'static str>,
    pub(crate) gives: &'static [Gives],
    route: fn(MethodFilter) -> MethodRouter<Arc<Site>>,
}

/// A reply that an endpoint gives beside the errors that all of its kind have.
pub(crate) struct Gives {
    pub(crate) status: u16,
    pub(crate) when: &'static str,
    pub(crate) content: Content,
}

/// What is in a reply.
pub(crate) enum Content {
    /// Text of this type.
    Text(&'static str),
    /// JSON of this schema.
    Json(&'static str),
}

#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

const fn gives(status: u16, when: &'static str, content: Content) -> Gives {
    Gives { status, when, content }
}

const PLAIN: Content = Content::Text("text/plain");
const NODES: &[Gives] = &[gives(200, "The role's nodes, after any change", Content::Json("Nodes"))];

const fn read(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    gives: &'static [Gives],
    route: fn(MethodFilter) -> MethodRouter<Arc<Site>>,
) -> Endpoint {
    Endpoint { verb: Verb::Get, path, operation, summary, writes: false, takes: None, gives, route }
}

const fn write(
    verb: Verb,
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    route: fn(MethodFilter) -> MethodRouter<Arc<Site>>,
) -> Endpoint {
    Endpoint { verb, path, operation, summary, writes: true, takes: None, gives: NODES, route }
}

/// The table.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    read(
        "/livez",
        "livez",
        "Whether the process runs; never depends on a node",
        &[gives(200, "It does", PLAIN)],
        |filter| on(filter, handlers::livez),
    ),
    read(
        "/readyz",
        "readyz",
        "Whether clients may be sent here",
        &[gives(200, "They may", PLAIN), gives(503, "Starting, stopping, or a role is down", PLAIN)],
        |filter| on(filter, handlers::readyz),
    ),
    read(
        "/healthz",
        "healthz",
        "How well every role is, and why not better",
        &[
            gives(200, "All are well", Content::Json("Health")),
            gives(206, "One at least is degraded, none is down", Content::Json("Health")),
            gives(503, "One at least cannot serve its clients", Content::Json("Health")),
        ],
        |filter| on(filter, handlers::healthz),
    ),
    read(
        "/metrics",
        "metrics",
        "Metrics for Prometheus",
        &[gives(200, "All metrics", Content::Text("application/openmetrics-text"))],
        |filter| on(filter, handlers::metrics),
    ),
    read(
        "/api/v1/openapi.json",
        "openapi",
        "This document",
        &[gives(200, "OpenAPI 3.1", Content::Json("Object"))],
        |filter| on(filter, handlers::document),
    ),
    read(
        "/api/v1/status",
        "status",
        "The process and the health of its roles",
        &[gives(200, "Always", Content::Json("Status"))],
        |filter| on(filter, handlers::status),
    ),
    read(
        "/api/v1/roles",
        "listRoles",
        "The process, and all roles with their state",
        &[gives(200, "Always", Content::Json("AllRoles"))],
        |filter| on(filter, handlers::roles),
    ),
    read(
        "/api/v1/changes",
        "listChanges",
        "The last changes of states, and what was done through this API: 128 at most, the oldest first",
        &[gives(200, "Always", Content::Json("Changes"))],
        |filter| on(filter, handlers::changes),
    ),
    read(
        "/api/v1/history",
        "history",
        "The last hour of what there is to plot, a sample each 5 s",
        &[gives(200, "Always", Content::Json("History"))],
        |filter| on(filter, handlers::history),
    ),
    read(
        "/api/v1/events",
        "events",
        "State, changes and samples as they come, as server-sent events: state each second, the others when they differ. \
         Every connection begins with all of it",
        &[
            gives(200, "Until either side ends it", Content::Text("text/event-stream")),
            gives(503, "32 listen already", Content::Json("Error")),
        ],
        |filter| on(filter, handlers::events),
    ),
    Endpoint {
        verb: Verb::Post,
        takes: Some("Object"),
        ..read(
            "/api/v1/explain/{what}",
            "explain",
            "What is decided in a case that you think up, by the decisions that real ones are put to: verdict, lanes or check, with \
             the flags of `mainstay explain` as keys. Changes nothing",
            &[
                gives(200, "What comes of it", Content::Json("Explained")),
                gives(400, "What is wrong with the case", Content::Json("Error")),
                gives(404, "There is no such decision", Content::Json("Error")),
                gives(503, "Two other cases are being played", Content::Json("Error")),
            ],
            |filter| on(filter, explain::explain),
        )
    },
    Endpoint {
        gives: &[
            gives(200, "The settings hold; what differs from before", Content::Json("Reloaded")),
            gives(404, "This process has no settings to reload", Content::Json("Error")),
            gives(
                409,
                "What differs needs a restart, or doesn't go with what was changed at run time. Nothing has changed",
                Content::Json("Problems"),
            ),
            gives(
                422,
                "The settings are wrong, with file and line. Nothing has changed",
                Content::Json("Problems"),
            ),
        ],
        ..write(
            Verb::Post,
            "/api/v1/reload",
            "reload",
            "Reads the config file anew, checks it whole, and carries out what differs: nodes, limits, checks. Connections stay. As SIGHUP does",
            |filter| on(filter, reload::reload),
        )
    },
    read(
        "/api/v1/{role}",
        "listRolesOfKind",
        "All roles of a kind with their state",
        &[gives(200, "There is one at least", Content::Json("Roles"))],
        |filter| on(filter, handlers::roles_of_kind),
    ),
    read(
        "/api/v1/{role}/{name}",
        "getRole",
        "One role with its state",
        &[gives(200, "The role", Content::Json("Role"))],
        |filter| on(filter, handlers::role),
    ),
    read(
        "/api/v1/{role}/{name}/recent",
        "recent",
        "What happened lately in a role: of engine and sync the last rounds, with who said what, and disagreements",
        &[gives(200, "The role", Content::Json("Recent"))],
        |filter| on(filter, handlers::recent),
    ),
    read("/api/v1/{role}/{name}/nodes", "listNodes", "A role's nodes", NODES, |filter| {
        on(filter, handlers::nodes)
    }),
    Endpoint {
        takes: Some("AddNode"),
        ..write(Verb::Post, "/api/v1/{role}/{name}/nodes", "addNode", "Adds a node", |filter| {
            on(filter, handlers::add)
        })
    },
    write(Verb::Delete, "/api/v1/{role}/{name}/nodes/{node}", "removeNode", "Forgets a node", |filter| {
        on(filter, handlers::remove)
    }),
    write(
        Verb::Post,
        "/api/v1/{role}/{name}/nodes/{node}/cordon",
        "cordonNode",
        "Relies on a node no more, whatever its health",
        |filter| on(filter, handlers::cordon),
    ),
    write(
        Verb::Post,
        "/api/v1/{role}/{name}/nodes/{node}/uncordon",
        "uncordonNode",
        "Ends a cordon or a drain",
        |filter| on(filter, handlers::uncordon),
    ),
    write(
        Verb::Post,
        "/api/v1/{role}/{name}/nodes/{node}/drain",
        "drainNode",
        "Gives a node no new work and lets it end what it has",
        |filter| on(filter, handlers::drain),
    ),
    write(
        Verb::Post,
        "/api/v1/{role}/{name}/nodes/{node}/prefer",
        "preferNode",
        "Prefers a node from the next round on; of relay only",
        |filter| on(filter, handlers::prefer),
    ),
    write(
        Verb::Post,
        "/api/v1/{role}/{name}/unprefer",
        "preferNone",
        "Ends a preference, from the next round on; of relay only",
        |filter| on(filter, handlers::unprefer),
    ),
    Endpoint {
        takes: Some("SetMajority"),
        ..write(
            Verb::Post,
            "/api/v1/{role}/{name}/majority",
            "setMajority",
            "Sets the share of the votes that makes a majority, from the next round on, until the settings have another or the next \
             start; of engine and sync only",
            |filter| on(filter, handlers::majority),
        )
    },
    write(
        Verb::Post,
        "/api/v1/{role}/{name}/recheck",
        "recheck",
        "Checks all nodes of a role now",
        |filter| on(filter, handlers::recheck),
    ),
];

/// The router of the table.
pub(crate) fn router(admin: Arc<Site>) -> Router {
    let mut router = ui::routes();
    for endpoint in ENDPOINTS {
        let mut route = (endpoint.route)(endpoint.verb.filter());
        if endpoint.writes {
            route = route.route_layer(middleware::from_fn_with_state(admin.clone(), guard));
        }
        router = router.route(endpoint.path, route);
    }
    router
        .fallback(handlers::no_such_path)
        .method_not_allowed_fallback(handlers::no_such_method)
        .with_state(admin)
}

/// The page of metrics and nothing else, for a listener that strangers may reach.
pub(crate) fn metrics_router(page: Page) -> Router {
    Router::new()
        .route("/metrics", get(handlers::metrics_of))
        .fallback(async || Error::new(StatusCode::NOT_FOUND, "only /metrics is served here"))
        .with_state(page)
}

/// Lets only those pass who may change something.
async fn guard(State(admin): State<Arc<Site>>, mut request: Request, next: Next) -> Result<Response, Error> {
    let Some(&Peer(peer)) = request.extensions().get() else {
        return Err(Error::new(StatusCode::INTERNAL_SERVER_ERROR, "the peer is unknown"));
    };
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let caller = Caller::of(peer.ip(), authority, request.headers());
    if let Err(refusal) = judge(&caller, admin.token.as_ref()) {
        tracing::debug!(?caller, reason = ?refusal, path = request.uri().path(), "refused a change");
        let status = match refusal {
            Refusal::CrossOrigin | Refusal::NoTokenConfigured => StatusCode::FORBIDDEN,
            Refusal::TokenMissing | Refusal::TokenWrong => StatusCode::UNAUTHORIZED,
        };
        return Err(Error::new(status, refusal.to_string()));
    }
    request.extensions_mut().insert(By::new(peer, &caller));
    Ok(next.run(request).await)
}
