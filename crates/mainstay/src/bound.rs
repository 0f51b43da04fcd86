//! Binding all that a process listens on, before anything of it serves.

use mainstay_settings::{Listen, Origin, Problem};
use mainstay_wire::socket::Listener;
use tokio::net::TcpListener;
use tracing::warn;

use crate::dropin::mock_node;
use crate::listeners::{Held, Inherited};
use crate::plan::{Plan, PlannedRole};

/// A role, and its listeners in the order of its settings, each with a further handle.
pub(crate) type BoundRole = (PlannedRole, Vec<(Listener, Held)>);

/// Everything that is bound, before anything of it serves.
#[derive(Default)]
pub(crate) struct Bound {
    pub(crate) roles: Vec<BoundRole>,
    pub(crate) admin: Option<Listener>,
    pub(crate) metrics: Option<Listener>,
    pub(crate) mock_node: Option<TcpListener>,
    /// Further handles on those that are no role's.
    pub(crate) held: Vec<Held>,
}

/// Binds what the plan names; `inherited` are used first. Fails with every place at which nothing can listen.
pub(crate) async fn bind(plan: &mut Plan, inherited: &mut Inherited) -> Result<Bound, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut bound = Bound::default();
    for role in std::mem::take(&mut plan.roles) {
        let listens = role.config.as_ref().map(|config| config.listens()).unwrap_or_default();
        match bind_role(&role, listens, inherited).await {
            Ok(listeners) => bound.roles.push((role, listeners)),
            Err(why) => problems.extend(why),
        }
    }
    if let Some(listen) = plan.admin_config.as_ref().and_then(|config| config.listen.as_ref()) {
        match inherited.bind(listen).await {
            Ok((listener, held)) => {
                bound.admin = Some(listener);
                bound.held.push(held);
            }
            // Several of that program ran on one machine without a thought of such a port.
            Err(why) if plan.can_do_without_admin() => {
                warn!("{why}, going on without the admin listener (choose with --admin-listen)");
            }
            Err(why) => {
                let what = format!("{why}, or turn it off with --admin-listen off");
                problems.push(plan.admin.problem("listen", what));
            }
        }
    }
    if let Some(listen) = plan.admin_config.as_ref().and_then(|config| config.metrics_listen.as_ref()) {
        match inherited.bind(listen).await {
            Ok((listener, held)) => {
                bound.metrics = Some(listener);
                bound.held.push(held);
            }
            Err(what) => problems.push(plan.admin.problem("metrics_listen", what)),
        }
    }
    if plan.mock_node {
        let listener = inherited.bind_tcp(mock_node::ADDRESS).await;
        let held = listener.and_then(|listener| match Held::of(&listener) {
            Ok(held) => Ok((listener, held)),
            Err(why) => Err(format!("cannot listen on {}: {why}", mock_node::ADDRESS)),
        });
        match held {
            Ok((listener, held)) => {
                bound.mock_node = Some(listener);
                bound.held.push(held);
            }
            Err(what) => problems.push(Problem {
                origin: Origin::Flag("--mock-node".to_owned()),
                key: String::new(),
                what,
            }),
        }
    }
    if problems.is_empty() { Ok(bound) } else { Err(problems) }
}

/// Binds the listeners of one role, at `listens` for those of its settings, in their order. Fails with every place at which nothing can listen.
pub(crate) async fn bind_role(
    role: &PlannedRole,
    listens: Vec<Listen>,
    inherited: &mut Inherited,
) -> Result<Vec<(Listener, Held)>, Vec<Problem>> {
    let Some(config) = &role.config else { return Ok(Vec::new()) };
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for (nth, (listen, called)) in listens.into_iter().zip(config.listens()).enumerate() {
        match inherited.bind(&listen).await {
            Ok((listener, held)) => listeners.push((listener, held.called(called))),
            Err(what) => problems.push(config.listen_problem(&role.settings, nth, what)),
        }
    }
    if problems.is_empty() { Ok(listeners) } else { Err(problems) }
}
