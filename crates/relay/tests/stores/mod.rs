//! Stores that several relays share, and what stands before them.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod etcd;
mod peers;
pub mod proxy;
