//! What can be wrong with a simulated node, and for which of its calls.

use std::{fmt, time::Duration};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone: its listener is closed, so connections are refused, and those that
    /// existed are reset. What it knew of the chain is kept, as on a disk.
    Down,
    /// Accepts connections and requests and answers nothing until this fault is gone; then it
    /// works off what came in, as a process does after SIGCONT.
    Hang,
    /// Waits so long before it looks at a call.
    Lag(Duration),
    /// Says INVALID where it should say VALID.
    Lie,
    /// Says SYNCING where it should say VALID.
    LieSyncing,
    /// Says VALID whatever the block is worth, known or not.
    LieValid,
    /// Says this status whatever the block is worth (for example `ACCEPTED`).
    Say(&'static str),
    /// `eth_syncing` is an object; answers SYNCING and imports nothing.
    Syncing,
    /// `eth_syncing` is an object that only says that indexing goes on, while everything is
    /// answered as by a healthy client: what geth does on a fresh chain.
    Indexing,
    /// Answers with this HTTP status and text.
    HttpError(u16, String),
    /// Answers with this JSON-RPC error.
    RpcError(i64),
    /// Answers 200 and a body that is not JSON.
    Garbage,
    /// Closes the connection in the middle of the answer's body.
    Truncate,
    /// Says that it is on the chain of this id.
    WrongChain(u64),
    /// Gives a null payloadId for attributes.
    NullPayloadId,
    /// Answers as if all were well and keeps its head where it is.
    StaleHead,
    /// Sends the answer's body in pieces over this time.
    SlowBody(Duration),
    /// Resets the connection in the answer's place.
    Reset,
    /// Answers 200 and nothing.
    Empty,
    /// Answers 200 and this text, as JSON: well-formed or not, of the shape that is expected or not.
    Text(String),
    /// Says that the answer is of this content type.
    ContentType(&'static str),
    /// Answers 200 and so many bytes of blanks.
    Huge(u64),
}

impl Fault {
    /// Only for calls of one family.
    pub fn on(self, family: Family) -> Rule {
        Rule::from(self).on(family)
    }

    /// Only for calls whose method, or path, begins with this.
    pub fn at(self, prefix: &str) -> Rule {
        Rule::from(self).at(prefix)
    }

    /// Only for the next `times` calls.
    pub fn times(self, times: u32) -> Rule {
        Rule::from(self).times(times)
    }

    /// Whether it says that the whole process is gone, which can't hold for some calls only.
    fn takes_all(&self) -> bool {
        matches!(self, Fault::Down)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Down => f.write_str("down"),
            Fault::Hang => f.write_str("hang"),
            Fault::Lag(by) => write!(f, "lag {} ms", by.as_millis()),
            Fault::Lie => f.write_str("lie"),
            Fault::LieSyncing => f.write_str("lie SYNCING"),
            Fault::LieValid => f.write_str("lie VALID"),
            Fault::Say(status) => write!(f, "say {status}"),
            Fault::Syncing => f.write_str("syncing"),
            Fault::Indexing => f.write_str("indexing"),
            Fault::HttpError(status, _) => write!(f, "HTTP {status}"),
            Fault::RpcError(code) => write!(f, "error {code}"),
            Fault::Garbage => f.write_str("garbage"),
            Fault::Truncate => f.write_str("truncate"),
            Fault::WrongChain(id) => write!(f, "chain {id}"),
            Fault::NullPayloadId => f.write_str("null payloadId"),
            Fault::StaleHead => f.write_str("stale head"),
            Fault::SlowBody(over) => write!(f, "slow body {} ms", over.as_millis()),
            Fault::Reset => f.write_str("reset"),
            Fault::Empty => f.write_str("empty"),
            Fault::Text(text) => write!(f, "text {text}"),
            Fault::ContentType(is) => write!(f, "content type {is}"),
            Fault::Huge(bytes) => write!(f, "huge {bytes} bytes"),
        }
    }
}

/// Methods that belong together, whatever their version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `engine_newPayload…`
    NewPayload,
    /// `engine_forkchoiceUpdated…`
    ForkchoiceUpdated,
    /// `engine_getPayloadV…`
    GetPayload,
    /// `engine_getPayloadBodies…`
    GetPayloadBodies,
    /// `engine_getBlobs…`
    GetBlobs,
    /// Every other `engine_…`
    OtherEngine,
    /// Everything that is not `engine_…`
    Eth,
}

impl Family {
    /// The family of a method.
    pub fn of(method: &str) -> Family {
        let Some(name) = method.strip_prefix("engine_") else {
            return Family::Eth;
        };
        match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "newPayloadV" => Family::NewPayload,
            "forkchoiceUpdatedV" => Family::ForkchoiceUpdated,
            "getPayloadV" => Family::GetPayload,
            "getBlobsV" => Family::GetBlobs,
            _ if name.starts_with("getPayloadBodies") => Family::GetPayloadBodies,
            _ => Family::OtherEngine,
        }
    }
}

/// A fault and the calls it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    fault: Fault,
    family: Option<Family>,
    prefix: Option<String>,
    left: Option<u32>,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Rule {
        Rule { fault, family: None, prefix: None, left: None }
    }
}

impl Rule {
    /// Only for calls of one family. [`Fault::Down`] stays for everything.
    pub fn on(mut self, family: Family) -> Rule {
        self.family = Some(family);
        self
    }

    /// Only for calls whose method (of an execution client), or path (of a beacon node), begins with this.
    /// [`Fault::Down`] stays for everything.
    pub fn at(mut self, prefix: &str) -> Rule {
        self.prefix = Some(prefix.to_owned());
        self
    }

    fn concerns(&self, what: &str) -> bool {
        let family = self.family.is_none_or(|wanted| wanted == Family::of(what));
        let prefix = self.prefix.as_ref().is_none_or(|prefix| what.starts_with(prefix));
        family && prefix && self.left != Some(0)
    }

    /// Only for the next `times` calls (of those that it concerns). [`Fault::Down`] stays until healed.
    pub fn times(mut self, times: u32) -> Rule {
        self.left = Some(times);
        self
    }
}

/// The faults of one node. Pure: it counts calls and knows no time.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Vec<(u64, Rule)>,
    next: u64,
}

/// What one call suffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// Its faults, in the order in which they were set; [`Fault::Hang`] is not among them.
    pub faults: Vec<Fault>,
    /// The rules whose end it waits for, because they make it hang.
    pub(crate) hangs: Vec<u64>,
}

impl Picked {
    /// What another call of the same request suffers, too.
    pub(crate) fn add(&mut self, other: &Picked) {
        self.faults.extend(other.faults.iter().cloned());
        self.hangs.extend(&other.hangs);
    }

    /// How long it waits before it is looked at.
    pub(crate) fn lag(&self) -> Duration {
        let lags = self.faults.iter().map(|fault| match fault {
            Fault::Lag(by) => *by,
            _ => Duration::ZERO,
        });
        lags.max().unwrap_or_default()
    }

    /// Whether it gets an HTTP error or a reset, so that nobody works on it.
    pub(crate) fn is_refused(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::HttpError(..) | Fault::Reset))
    }

    /// Whether it gets something else than its answer.
    pub(crate) fn is_replaced(&self) -> bool {
        let replaces =
            |fault: &Fault| matches!(fault, Fault::Garbage | Fault::Empty | Fault::Text(_) | Fault::Huge(_));
        self.is_refused() || self.faults.iter().any(replaces)
    }
}

impl Faults {
    /// This fault and no other.
    pub fn set(&mut self, rule: Rule) {
        self.clear();
        self.add(rule);
    }

    /// This fault beside the others.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push((self.next, rule));
        self.next += 1;
    }

    /// No fault.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Whether the whole process is gone.
    pub fn is_down(&self) -> bool {
        self.rules.iter().any(|(_, rule)| rule.fault.takes_all())
    }

    /// What a call of this method, or to this path, suffers that arrives now; counts it.
    pub fn pick(&mut self, what: &str) -> Picked {
        let mut picked = Picked::default();
        for (id, rule) in &mut self.rules {
            if !rule.concerns(what) {
                continue;
            }
            if let Some(left) = &mut rule.left {
                *left -= 1;
            }
            match &rule.fault {
                Fault::Hang => picked.hangs.push(*id),
                fault => picked.faults.push(fault.clone()),
            }
        }
        picked
    }

    /// Whether a call of this method, or to this path, would hang.
    pub(crate) fn hangs(&self, what: &str) -> bool {
        self.rules.iter().any(|(_, rule)| rule.fault == Fault::Hang && rule.concerns(what))
    }

    /// Whether one of these rules still holds. A rule that has no calls left holds for those it
    /// was picked by until it is cleared.
    pub(crate) fn holds_any(&self, ids: &[u64]) -> bool {
        self.rules.iter().any(|(id, _)| ids.contains(id))
    }

    /// The faults in a few words (`lag 800 ms, lie`), or `None` where there is none left.
    pub fn describe(&self) -> Option<String> {
        let names: Vec<String> = self
            .rules
            .iter()
            .filter(|(_, rule)| rule.left != Some(0))
            .map(|(_, rule)| rule.fault.to_string())
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_do_not_depend_on_the_version() {
        for (method, family) in [
            ("engine_newPayloadV1", Family::NewPayload),
            ("engine_newPayloadV19", Family::NewPayload),
            ("engine_newPayloadWithWitnessV1", Family::OtherEngine),
            ("engine_forkchoiceUpdatedV3", Family::ForkchoiceUpdated),
            ("engine_getPayloadV5", Family::GetPayload),
            ("engine_getPayloadBodiesByHashV1", Family::GetPayloadBodies),
            ("engine_getBlobsV2", Family::GetBlobs),
            ("engine_exchangeCapabilities", Family::OtherEngine),
            ("eth_syncing", Family::Eth),
        ] {
            assert_eq!(Family::of(method), family, "{method}");
        }
    }

    #[test]
    fn a_rule_holds_for_its_family_and_count() {
        let mut faults = Faults::default();
        faults.add(Fault::Lie.on(Family::NewPayload).times(1));
        faults.add(Fault::Lag(Duration::from_millis(5)).into());
        assert_eq!(faults.describe().as_deref(), Some("lie, lag 5 ms"));
        assert_eq!(faults.pick("eth_syncing").faults.len(), 1);
        assert_eq!(faults.pick("engine_newPayloadV4").faults.len(), 2);
        assert_eq!(faults.pick("engine_newPayloadV4").faults.len(), 1);
        assert_eq!(faults.describe().as_deref(), Some("lag 5 ms"));
        faults.set(Fault::Down.into());
        assert!(faults.is_down());
        faults.clear();
        assert_eq!(faults.describe(), None);
    }

    #[test]
    fn a_rule_holds_for_what_begins_with_its_prefix() {
        let mut faults = Faults::default();
        faults.add(Fault::Hang.at("/eth/v1/node/"));
        faults.add(Fault::Empty.at("eth_syncing"));
        assert_eq!(faults.pick("/eth/v1/node/syncing").hangs.len(), 1);
        assert!(faults.hangs("/eth/v1/node/syncing") && !faults.hangs("/eth/v1/events"));
        assert_eq!(faults.pick("/eth/v1/beacon/genesis"), Picked::default());
        assert_eq!(faults.pick("eth_syncing").faults, [Fault::Empty]);
    }

    #[test]
    fn a_hang_that_is_used_up_still_holds_its_calls() {
        let mut faults = Faults::default();
        faults.set(Fault::Hang.times(1));
        let first = faults.pick("eth_syncing");
        assert!(faults.pick("eth_syncing").hangs.is_empty());
        assert!(faults.holds_any(&first.hangs));
        faults.set(Fault::Hang.into());
        assert!(!faults.holds_any(&first.hangs), "another rule is not this one");
    }
}
