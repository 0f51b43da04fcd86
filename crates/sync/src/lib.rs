//! The `sync` role: many consensus clients (CL) drive many execution clients (EL) over the Engine API.
//!
//! One of the CLs leads, its head is what every EL follows; payloads are taken from whoever has them first.

pub mod client;
pub mod hash;
pub mod leader;
pub mod slots;
