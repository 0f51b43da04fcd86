//! Whoever else is called: stores, other proxies, peers of a relay. Whether they are there; and whether a store takes our password.

use std::time::Duration;

use mainstay_wire::client::{Attestation, Client, Options};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::probe::Failure;
use crate::roles::Kept;

use super::finding::Findings;
use super::nodes::place;

/// For one of them.
const DEADLINE: Duration = Duration::from_secs(5);

/// One of them, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct PlaceSeen {
    /// The role's instance.
    pub(super) group: String,
    pub(super) name: String,
    /// What was tried: `took a question`, `took a connection`.
    pub(super) did: &'static str,
    /// How long it took, or what is wrong.
    pub(super) came: Result<Duration, Failure>,
}

/// Who is called over HTTP and isn't asked anything: a connection, with TLS.
pub(super) async fn link(group: String, name: String, url: Url, attest: Option<Attestation>) -> PlaceSeen {
    let started = Instant::now();
    let came = match Client::new(&url, Options { attest, ..Options::default() }) {
        Ok(client) => client.reach(started + DEADLINE).await.map_err(|why| Failure::of_call(&why)),
        Err(why) => Err(Failure::new(why.to_string(), "mend its URL")),
    };
    PlaceSeen { group, name, did: "takes connections", came: came.map(|()| started.elapsed()) }
}

/// A peer of another protocol, `HOST:PORT`: a connection on which nothing is said.
pub(super) async fn peer(group: String, address: String) -> PlaceSeen {
    let started = Instant::now();
    let came = match timeout(DEADLINE, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok(started.elapsed()),
        Ok(Err(why)) => Err(Failure::new(
            why.to_string(),
            "start it, let this machine through to it, or mend its address",
        )),
        Err(_) => Err(Failure::new(
            format!("no connection within {} s", DEADLINE.as_secs()),
            "look for a firewall that drops packets",
        )),
    };
    PlaceSeen { group, name: address, did: "takes connections", came }
}

/// A store, asked as the role asks it.
pub(super) async fn store(group: String, kept: Kept) -> PlaceSeen {
    let started = Instant::now();
    let name = kept.place;
    let came = match timeout(DEADLINE, kept.ask).await {
        Ok(Ok(())) => Ok(started.elapsed()),
        Ok(Err(why)) => {
            let why = why.strip_prefix(&format!("{name}: ")).map(str::to_owned).unwrap_or(why);
            Err(Failure::new(
                why,
                "start it, let this machine through to it, or mend address, user and password in the settings",
            ))
        }
        Err(_) => Err(Failure::new(
            format!("no answer within {} s", DEADLINE.as_secs()),
            "look for a firewall that drops packets, and whether it hangs",
        )),
    };
    PlaceSeen { group, name, did: "answers", came }
}

pub(super) fn judge(places: &[PlaceSeen], findings: &mut Findings<'_>) {
    for PlaceSeen { group, name, did, came } in places {
        let of = place(group, name);
        match came {
            Ok(took) => findings.ok(of, format!("{did}, within {} ms", took.as_millis())),
            Err(failed) => findings.fail(of, &*failed.what, &*failed.remedy),
        }
    }
}
