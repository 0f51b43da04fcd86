//! What stands between relays and their store.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod proxy;
