//! What connections say of consensus clients (CL): whether one is gone.
//!
//! A process that ends closes its connections at once, seconds before its silence tells. But many clients close idle connections
//! every few seconds, and proxies open one for each call. So the end of a CL's last connection counts only if that was kept for long,
//! and as long as the CL hasn't come back after one that was: from then on its closing means nothing.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::Client;

/// CLs that are remembered as closing connections while they live.
const CLOSERS: usize = 256;

/// The open connections on which CLs have called. Pure.
#[derive(Debug)]
pub struct Connections {
    /// How long a connection has to be kept for its end to tell something.
    kept_for: Duration,
    open: HashMap<SocketAddr, (Client, Instant)>,
    /// Who closed all its connections and hasn't come back yet.
    away: HashSet<Client>,
    closers: HashSet<Client>,
}

impl Connections {
    /// None yet. The end of one that was open for less than `kept_for` tells nothing.
    #[must_use]
    pub fn new(kept_for: Duration) -> Self {
        Self { kept_for, open: HashMap::new(), away: HashSet::new(), closers: HashSet::new() }
    }

    /// As in [`Connections::new`], from now on.
    pub fn set_kept_for(&mut self, kept_for: Duration) {
        self.kept_for = kept_for;
    }

    /// A CL called on this connection.
    pub fn called(&mut self, peer: SocketAddr, who: &Client, now: Instant) {
        if self.away.remove(who) && self.closers.len() < CLOSERS {
            self.closers.insert(who.clone());
        }
        match self.open.get_mut(&peer) {
            Some((last, _)) if last == who => {}
            Some((last, _)) => *last = who.clone(),
            None => {
                self.open.insert(peer, (who.clone(), now));
            }
        }
    }

    /// A connection ended. Gives the CL that is gone by that.
    pub fn closed(&mut self, peer: SocketAddr, now: Instant) -> Option<Client> {
        let (who, since) = self.open.remove(&peer)?;
        let was_kept = now.saturating_duration_since(since) >= self.kept_for;
        if !was_kept || self.closers.contains(&who) || self.open.values().any(|(other, _)| *other == who) {
            return None;
        }
        if self.away.len() >= CLOSERS {
            self.away.clear();
        }
        self.away.insert(who.clone());
        Some(who)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEPT: Duration = Duration::from_secs(24);

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn cl(id: &str) -> Client {
        Client::id(id).unwrap()
    }

    #[allow(clippy::disallowed_methods)] // where time starts
    fn start() -> (Connections, Instant) {
        (Connections::new(KEPT), Instant::now())
    }

    #[test]
    fn the_last_connection_of_a_client_that_keeps_them_tells() {
        let (mut connections, t) = start();
        connections.called(peer(1), &cl("a"), t);
        connections.called(peer(2), &cl("a"), t);
        connections.called(peer(3), &cl("b"), t);
        let t = t + KEPT;
        assert_eq!(connections.closed(peer(1), t), None);
        assert_eq!(connections.closed(peer(9), t), None, "nothing was asked on it");
        assert_eq!(connections.closed(peer(2), t), Some(cl("a")));
        assert_eq!(connections.closed(peer(2), t), None);
        assert_eq!(connections.closed(peer(3), t), Some(cl("b")));
    }

    #[test]
    fn of_one_that_comes_back_it_tells_nothing_any_more() {
        let (mut connections, mut t) = start();
        for (port, gone) in [(1, Some(cl("a"))), (2, None), (3, None)] {
            connections.called(peer(port), &cl("a"), t);
            t += KEPT;
            connections.called(peer(port), &cl("a"), t);
            assert_eq!(connections.closed(peer(port), t), gone);
        }
    }

    #[test]
    fn a_connection_for_each_call_tells_nothing() {
        let (mut connections, mut t) = start();
        for port in 1..100 {
            connections.called(peer(port), &cl("behind nginx"), t);
            t += Duration::from_millis(100);
            assert_eq!(connections.closed(peer(port), t), None);
        }
    }

    #[test]
    fn two_clients_behind_one_connection_are_told_apart_by_the_last_call() {
        let (mut connections, t) = start();
        connections.called(peer(1), &cl("a"), t);
        connections.called(peer(1), &cl("b"), t);
        assert_eq!(connections.closed(peer(1), t + KEPT), Some(cl("b")));
    }

    #[test]
    fn it_is_bounded() {
        let (mut connections, mut t) = start();
        for _ in 0..2 {
            for n in 0..1000 {
                connections.called(peer(n), &cl(&format!("{n}")), t);
                t += KEPT;
                connections.closed(peer(n), t);
            }
            assert!(connections.away.len() <= CLOSERS && connections.closers.len() <= CLOSERS);
        }
        assert!(connections.open.is_empty());
    }
}
