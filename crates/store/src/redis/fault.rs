//! What an error of Redis means to us, in words that hold no credentials and no content.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why Redis did not do what it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) text: String,
    /// Whether it may have been done all the same.
    pub(super) delivered: bool,
    /// The connection was an old one that turned out to be dead.
    pub(super) stale: bool,
    /// It is a time limit that has passed.
    pub(super) slow: bool,
    /// What is under the key is no string.
    pub(super) wrong_type: bool,
    /// Whether the connection may be used on.
    pub(super) usable: bool,
}

impl Fault {
    /// Nothing has been asked yet.
    pub(super) fn unreached(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            delivered: false,
            stale: false,
            slow: false,
            wrong_type: false,
            usable: false,
        }
    }

    pub(super) fn late() -> Self {
        Self { delivered: true, slow: true, ..Self::unreached("it does not answer") }
    }

    /// Of a command that was sent.
    pub(super) fn of_command(error: &RedisError) -> Self {
        // Only an answer of the server proves that it didn't do it.
        let answered = error.code().is_some();
        Self {
            text: text(error),
            delivered: !answered,
            stale: false,
            slow: error.is_timeout(),
            wrong_type: error.code() == Some("WRONGTYPE"),
            usable: matches!(
                error.kind(),
                ErrorKind::Extension
                    | ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoPerm)
            ) && error.code() != Some("NOAUTH"),
        }
    }

    pub(super) fn of_connecting(error: &RedisError) -> Self {
        Self::unreached(text(error))
    }
}

/// A server's own text may quote the arguments of a command, so only its code is shown; what the operating system or TLS
/// says of a connection is shown.
fn text(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
            "it does not accept the user or password".into()
        }
        (_, Some("NOAUTH")) => "it wants a password".into(),
        (_, Some("NOPERM")) => {
            "its user lacks a permission: it takes GET, SET, EVAL, PUBLISH and SUBSCRIBE".into()
        }
        (_, Some("LOADING")) => "it is loading its data".into(),
        (_, Some("READONLY")) => "it is a replica, which takes no changes".into(),
        (_, Some("CLUSTERDOWN" | "MASTERDOWN")) => "it has lost a master".into(),
        (_, Some(code)) => format!("it answered with the error {code}"),
        (ErrorKind::Io, None) if error.is_timeout() => "it does not answer".into(),
        (ErrorKind::Io, None) if error.is_connection_refusal() => "the connection is refused".into(),
        (ErrorKind::Io, None) => error.to_string(),
        (_, None) => error.category().into(),
    }
}
