//! How peers keep in step: what each has, what it wants, keepalive, and farewells.

use std::fmt;

use serde::Serialize;

use crate::pack::packed;
use crate::{Id, List, Nanos};

/// `chain_size` (1): how far a chain is. Nodes ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "as in a handshake")]
pub struct ChainSize {
    pub lib_num: u32,
    pub lib_id: Id,
    pub head_num: u32,
    pub head_id: Id,
}
packed!(ChainSize { lib_num, lib_id, head_num, head_id });

/// `go_away` (2): the last thing a peer says. Whoever gets one closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GoAway {
    /// Why.
    pub reason: Reason,
    /// Often zero.
    pub node_id: Id,
}
packed!(GoAway { reason, node_id });

/// Why a peer is sent away. Most reasons stop a node from ever dialing again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Reason(pub u32);

impl Reason {
    /// What it is called; `unknown` above the last one.
    #[must_use]
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 12] = [
            "no_reason",
            "self",
            "duplicate",
            "wrong_chain",
            "wrong_version",
            "forked",
            "unlinkable",
            "bad_transaction",
            "validation",
            "benign_other",
            "fatal_other",
            "authentication",
        ];
        name(&NAMES, self.0)
    }
}

/// `time` (3): a ping (`org` and `rec` zero) or the answer to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Time {
    /// The ping's `xmt`.
    pub org: Nanos,
    /// When the ping arrived.
    pub rec: Nanos,
    /// When this was sent.
    pub xmt: Nanos,
    /// Always zero on the wire.
    pub dst: Nanos,
}
packed!(Time { org, rec, xmt, dst });

/// `notice` (4): what a peer has. Nodes close the connection over more than two block ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Notice<'a> {
    /// Transactions.
    pub known_trx: IdList<'a>,
    /// Blocks: the head, and for versions from [`BLOCK_RANGE`](crate::Version::BLOCK_RANGE) the earliest, of whose id there is only the
    /// number.
    pub known_blocks: IdList<'a>,
}
packed!(Notice<'a> { known_trx, known_blocks });

/// `request` (5): what a peer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Request<'a> {
    /// Transactions.
    pub req_trx: IdList<'a>,
    /// Blocks.
    pub req_blocks: IdList<'a>,
}
packed!(Request<'a> { req_trx, req_blocks });

/// Ids in a notice or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdList<'a> {
    /// How they are meant.
    pub mode: Mode,
    /// A number of a block or of ids, as the mode has it.
    pub pending: u32,
    /// The ids.
    pub ids: List<'a, Id>,
}
packed!(IdList<'a> { mode, pending, ids });

/// How a list of ids is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Mode(pub u32);

impl Mode {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The peer is on a fork or a little behind.
    pub const CATCH_UP: Self = Self(1);
    /// The peer is far behind.
    pub const LAST_IRR_CATCH_UP: Self = Self(2);
    /// Single blocks.
    pub const NORMAL: Self = Self(3);

    /// What it is called; `unknown` above the last one.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(&["none", "catch_up", "last_irr_catch_up", "normal"], self.0)
    }
}

/// `sync_request` (6): send these blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SyncRequest {
    /// The first.
    pub start: u32,
    /// The last; 0 cancels what was asked for.
    pub end: u32,
}
packed!(SyncRequest { start, end });

fn name(names: &[&'static str], number: u32) -> &'static str {
    usize::try_from(number).ok().and_then(|at| names.get(at)).copied().unwrap_or("unknown")
}

/// Numbers on the wire that have names: four bytes each, whatever other enumerations take.
macro_rules! named {
    ($($type:ident),+) => {$(
        packed!($type(..));

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} ({})", self.0, self.name())
            }
        }
    )+};
}
named!(Reason, Mode);
