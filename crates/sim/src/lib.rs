//! Simulated execution clients, beacon nodes, Antelope nodes and a simulated consensus client, with faults that can be switched
//! on and off while they run. Used by the tests of the roles, by benchmarks and by `mainstay dev`.
//!
//! - [`chain`], [`request`]: a deterministic toy chain and the calls that carry it
//! - [`el`]: one execution client as a pure state machine; [`fault`]: what can be wrong with it
//! - [`server`]: that client on a socket, with a log of what it was asked
//! - [`beacon`]: a beacon node on a socket, with the same faults
//! - [`cl`]: a consensus client that proposes in every slot
//! - [`nodeos`]: a node of the Antelope net protocol on a socket, for the relay
//! - [`terminal`], [`control`]: what `mainstay dev` shows, and how a person breaks nodes in it

pub mod beacon;
pub mod chain;
pub mod cl;
mod clock;
pub mod control;
pub mod el;
pub mod fault;
mod host;
mod log;
pub mod nodeos;
pub mod request;
pub mod server;
pub mod terminal;

pub use self::{
    beacon::{BeaconHandle, BeaconServer, BeaconState},
    cl::{Cl, ClConfig, ClHandle, SlotReport},
    control::Control,
    el::{El, ElConfig},
    fault::{Family, Fault},
    log::{NotSeen, Received},
    server::{ElHandle, ElServer},
};
