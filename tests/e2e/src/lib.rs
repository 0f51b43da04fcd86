//! Runs the real binary between real clients.
//!
//! A test is one [`scenario`]: it gets a [`Lab`] (a folder, the tools, one JWT secret), starts clients in
//! it, hurts them and looks at what became of the chain. Everything listens on loopback and finds no
//! peers but those that a scenario names. Everything started dies with the scenario; where that failed, the folder is kept and the ends
//! of all logs are printed.
//!
//! | module | what it runs or asks |
//! |---|---|
//! | [`tools`] | where `make tools` has put the clients |
//! | [`lab`] | one scenario: folder, secret, logs, overall deadline |
//! | [`process`] | a child process: kill, freeze, thaw, terminate |
//! | [`execution`] | an execution client; [`geth`] and [`ethereumjs`] say how each is started |
//! | [`feed`] | gives one what it has missed |
//! | [`lodestar`] | beacon nodes and validators; [`watch`] says which slots have blocks, [`attestations`] who attested |
//! | [`pair`] | two beacon nodes of one chain |
//! | [`fleet`] | one that makes blocks, and two that follow it |
//! | [`peering`] | keeps two peered, or parts them |
//! | [`heads`] | compares heads of execution clients with the chain, slot by slot |
//! | [`relay`] | carries blocks between two beacon nodes |
//! | [`events`] | a client of a beacon node's event stream |
//! | [`minicl`] | a consensus client of thirty lines, for forks that Lodestar here does not know |
//! | [`proxy`] | in front of one client: lies, delays, and keeps a record |
//! | [`mainstay`], [`balancer`], [`guards`] | the binary under test: `engine`, `rpc` and `beacon`; [`program`] is what all are |
//! | [`follower`] | the same: `sync`; [`dropin`] is it in sync-proxy's stead, [`nginx`] what stands before that |
//! | [`gate`] | the same: `relay`, before real nodeos |
//! | [`forger`] | a consensus client that lies about the time and the head |
//! | [`snapshot`] | an execution client's data as they were once |
//! | [`connections`] | how many connections a process has to a port |
//! | [`nodeos`] | nodes of an Antelope chain, and what became of it |
//! | [`etcd`] | where several relays keep what they share |
//! | [`rpc`] | JSON over HTTP, with a deadline |

#![allow(
    clippy::disallowed_methods,
    reason = "the harness is all shell: it looks at real clocks and starts real processes"
)]

pub mod attestations;
pub mod balancer;
pub mod connections;
pub mod dropin;
pub mod etcd;
pub mod ethereumjs;
pub mod events;
pub mod execution;
pub mod failure;
pub mod feed;
pub mod fleet;
pub mod follower;
pub mod forger;
pub mod gate;
pub mod geth;
pub mod guards;
pub mod heads;
pub mod lab;
pub mod lodestar;
pub mod mainstay;
pub mod minicl;
pub mod nginx;
pub mod nodeos;
pub mod pair;
pub mod peering;
pub mod process;
pub mod program;
pub mod proxy;
pub mod relay;
pub mod rpc;
pub mod snapshot;
pub mod tools;
pub mod watch;

pub use failure::{Failure, Result};
pub use lab::{Lab, scenario, until};
