//! A simulated execution client on a socket, and the handle by which a test or a person breaks it.

mod service;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use mainstay_wire::jwt::Secret;
use tokio::sync::Semaphore;

use crate::{
    chain::Block,
    el::El,
    fault::{Family, Faults, Rule},
    host::{self, Host, lock},
    log::{self, CallLog, NotSeen, Received},
};

/// Calls that lag or hang at one time and outlive their connections.
const MOST_WAITING: usize = 1024;

/// Starts simulated execution clients.
pub struct ElServer;

impl ElServer {
    /// Serves `el` on a free port of 127.0.0.1. Without a secret it asks for no token.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(el: El, secret: impl Into<Option<Secret>>) -> io::Result<(ElHandle, SocketAddr)> {
        ElServer::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), el, secret).await
    }

    /// Serves `el` on `addr`; returns once it listens.
    ///
    /// # Errors
    /// Where the port can't be had.
    pub async fn start_at(
        addr: SocketAddr,
        el: El,
        secret: impl Into<Option<Secret>>,
    ) -> io::Result<(ElHandle, SocketAddr)> {
        let host = Host::open(el.config().name.clone(), addr)?;
        let addr = host.addr;
        let shared = Arc::new(Shared {
            host,
            secret: secret.into(),
            el: Mutex::new(el),
            log: CallLog::new(log::MOST_BYTES),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        });
        tokio::spawn(host::accept(shared.clone()));
        Ok((ElHandle { shared }, addr))
    }
}

struct Shared {
    host: Host,
    secret: Option<Secret>,
    el: Mutex<El>,
    log: CallLog,
    waiting: Arc<Semaphore>,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.host.change(change);
        self.log.changed();
    }
}

/// A simulated execution client that runs; clones are handles to the same one. It runs until
/// [`ElHandle::stop`] or the runtime's end, also when no handle is left.
#[derive(Clone)]
pub struct ElHandle {
    shared: Arc<Shared>,
}

impl fmt::Debug for ElHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.shared.host.name, self.shared.host.addr)
    }
}

impl ElHandle {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.host.name
    }

    /// Where it listens, or would if it were not down.
    pub fn addr(&self) -> SocketAddr {
        self.shared.host.addr
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        self.shared.host.url()
    }

    /// This fault and no other, from now on: a call that arrives after this returns has it.
    /// Anything but `Down` brings a node back that was down.
    pub fn set(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.shared.change(|faults| faults.set(rule));
    }

    /// This fault beside those that it has.
    pub fn add(&self, rule: impl Into<Rule>) {
        let rule = rule.into();
        self.shared.change(|faults| faults.add(rule));
    }

    /// No fault: it listens again on its port, and hung calls are worked off in their order.
    pub fn heal(&self) {
        self.shared.change(Faults::clear);
    }

    /// Its faults in a few words, `None` where it is well.
    pub fn faults(&self) -> Option<String> {
        self.shared.host.describe()
    }

    /// Looks into the client or changes it. Don't block inside.
    pub fn with<T>(&self, look: impl FnOnce(&mut El) -> T) -> T {
        let seen = look(&mut lock(&self.shared.el));
        self.shared.log.changed();
        seen
    }

    /// Its head.
    pub fn head(&self) -> Block {
        self.with(|el| el.head().clone())
    }

    /// The calls that it received, oldest first (the last 4096, at most 64 MiB).
    pub fn calls(&self) -> Vec<Received> {
        self.shared.log.calls()
    }

    /// The calls of one family that it received.
    pub fn calls_of(&self, family: Family) -> Vec<Received> {
        let mut calls = self.calls();
        calls.retain(|call| call.family() == family);
        calls
    }

    /// How many calls of a family it received (of those kept).
    pub fn count(&self, family: Family) -> usize {
        self.shared.log.count(|call| call.family() == family)
    }

    /// How many requests got a 401.
    pub fn refused(&self) -> u64 {
        self.shared.log.refused()
    }

    /// Forgets the calls received; their numbers go on.
    pub fn clear_calls(&self) {
        self.shared.log.clear();
    }

    /// Waits until `enough` says yes to the calls received.
    ///
    /// # Errors
    /// When it has not within `within`; says what was seen instead.
    pub async fn wait_for(
        &self,
        within: Duration,
        enough: impl FnMut(&[Received]) -> bool,
    ) -> Result<(), NotSeen> {
        self.shared.log.wait_for(within, enough).await
    }

    /// Waits until `count` calls of a family are there.
    ///
    /// # Errors
    /// As [`ElHandle::wait_for`].
    pub async fn wait_for_calls(
        &self,
        family: Family,
        count: usize,
        within: Duration,
    ) -> Result<(), NotSeen> {
        let of_family = |calls: &[Received]| calls.iter().filter(|c| c.family() == family).count();
        self.wait_for(within, |calls| of_family(calls) >= count).await
    }

    /// Waits until the client's state is as wanted: looked at after every answer and change.
    ///
    /// # Errors
    /// As [`ElHandle::wait_for`].
    pub async fn wait_until(
        &self,
        within: Duration,
        mut wanted: impl FnMut(&El) -> bool,
    ) -> Result<(), NotSeen> {
        self.wait_for(within, |_| wanted(&lock(&self.shared.el))).await
    }

    /// Ends it for good: the port is free, connections are closed.
    pub fn stop(&self) {
        self.shared.host.end();
    }
}

#[cfg(test)]
mod tests;
