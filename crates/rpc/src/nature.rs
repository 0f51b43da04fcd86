//! What may be done with a request whose answer doesn't come: read from the method of its JSON-RPC envelope.
//!
//! A batch is what the most delicate of its calls is. A body that is no JSON-RPC (an old simulation format, garbage) is opaque:
//! nothing is known of it, so it isn't sent again while a node may still be working on it.

use bytes::Bytes;
use mainstay_wire::envelope::{Message, is_once, parse_request};

/// What may be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nature {
    /// May be sent as often as one likes: reads and simulations.
    Idempotent,
    /// Nothing is known of it.
    Opaque,
    /// Changes something outside: never sent again once it may have been delivered.
    Once,
    /// A rule wants it to be sent once, whatever happens.
    Never,
}

/// Nature of one method.
#[must_use]
pub fn of_method(method: &str) -> Nature {
    if is_once(method) { Nature::Once } else { Nature::Idempotent }
}

/// The methods of a request's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// In their order; none if the body isn't JSON-RPC.
    pub names: Vec<String>,
    /// The body, or a part of a batch, isn't JSON-RPC.
    pub opaque: bool,
}

impl Methods {
    /// Reads them from a body.
    #[must_use]
    pub fn read(body: &Bytes) -> Self {
        let calls = match parse_request(body) {
            Ok(Message::Single(call)) => vec![call],
            Ok(Message::Batch(calls)) => calls,
            Err(_) => return Self { names: Vec::new(), opaque: true },
        };
        let opaque = calls.iter().any(Result::is_err);
        Self { names: calls.into_iter().flatten().map(|call| call.method).collect(), opaque }
    }

    /// Nature of the whole request.
    #[must_use]
    pub fn nature(&self) -> Nature {
        let floor = if self.opaque { Nature::Opaque } else { Nature::Idempotent };
        self.names.iter().map(|name| of_method(name)).fold(floor, Nature::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nature(body: &'static str) -> Nature {
        Methods::read(&Bytes::from_static(body.as_bytes())).nature()
    }

    #[test]
    fn a_batch_is_what_its_most_delicate_call_is() {
        assert_eq!(nature(r#"{"id":1,"method":"eth_call"}"#), Nature::Idempotent);
        assert_eq!(
            nature(r#"[{"id":1,"method":"eth_call"},{"id":2,"method":"eth_sendBundle"}]"#),
            Nature::Once
        );
        assert_eq!(nature(r#"[{"id":1,"method":"eth_call"},7]"#), Nature::Opaque);
        assert_eq!(nature(r#"[7,{"id":2,"method":"eth_sendBundle"}]"#), Nature::Once);
        for body in ["", "taskLowPrio", "{}", "[]", "7", "\u{0}"] {
            assert_eq!(nature(body), Nature::Opaque, "{body}");
        }
    }
}
