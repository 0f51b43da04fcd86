//! The `sync` role: many consensus clients (CL) drive many execution clients (EL) over the Engine API.
//!
//! One of the CLs leads: its head is what every EL follows. Payloads are taken from whoever has them first, and every CL gets real
//! answers. See the folder's README for the rules.
//!
//! Decisions (pure): [`leader`], [`slots`], [`client`], [`connections`], [`verdicts`], [`tokens`]. Shells: [`service`] receives, `core` treats
//! the calls, [`role`] puts it together. How the ELs are driven is `mainstay_execution`'s.

pub mod client;
mod clock;
pub mod coming;
pub mod config;
pub mod connections;
mod core;
pub mod handle;
pub mod hash;
pub mod leader;
mod reading;
pub mod role;
pub mod service;
pub mod slots;
pub mod telemetry;
pub mod tokens;
pub mod verdicts;
mod wording;

pub use clock::Wall;
pub use config::{Config, SECTION};
pub use core::{Arrived, Who};
pub use handle::{ClientView, Handle, Snapshot};
pub use role::Sync;
pub use telemetry::Metrics;
