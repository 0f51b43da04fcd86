//! Why a node is not right, and what to do about it.

use mainstay_wire::client::{CallError, Fault};

/// What is wrong with a node, and the remedy. Both are for people and hold no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    /// There was no answer.
    pub(crate) fn of_call(error: &CallError) -> Self {
        let remedy = match error.fault {
            Fault::Refused => "start it, or mend the port: nobody listens there",
            Fault::Unreachable => "mend its host: the name doesn't resolve, or there is no way there",
            Fault::Tls(why) => why.remedy(),
            Fault::Unattested => "mainstay attest URI explains step by step what did not hold",
            Fault::Reset => {
                "read its log: it ended the connection, as something that doesn't speak HTTP would"
            }
            Fault::Timeout => "look for a firewall that drops packets, and whether it hangs",
            Fault::TooLarge | Fault::Protocol => "mend the URL: something else than a node answers there",
            Fault::Caller | Fault::CallerTooLarge => "report this: mainstay's own request was wrong",
        };
        Self::new(error.to_string(), remedy)
    }
}
