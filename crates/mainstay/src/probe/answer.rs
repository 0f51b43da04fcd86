//! What a node's replies mean. No clock or socket here.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use mainstay_wire::client::HttpReply;
use mainstay_wire::envelope::{Outcome, elements, fields, parse_reply, string};

use super::failure::Failure;
use super::more::{Block, Forks};

/// A node refuses tokens that are more than a minute off; half of that deserves a word.
pub(crate) const ODD_SKEW: i64 = 30;

pub(crate) const WANTS_TOKEN: &str =
    "is there, and takes only its callers' tokens: give it #jwt-secret=FILE to have it asked more";

/// What a node has to say to be right.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Its chain, and methods of the Engine API.
    #[default]
    EngineApi,
    /// That it wants a token, or its chain if it wants none.
    Refusal,
    /// Its chain.
    Chain,
    /// Anything but an error of HTTP.
    AnyReply,
}

impl Wanted {
    fn port(self) -> &'static str {
        if matches!(self, Self::EngineApi | Self::Refusal) { "Engine API" } else { "JSON-RPC" }
    }
}

/// What one node said.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answers {
    pub(crate) wanted: Wanted,
    /// Why there is nothing (more) to tell.
    pub(crate) failed: Option<Failure>,
    /// It wants a token, and we have none.
    pub(crate) wants_token: bool,
    pub(crate) chain: Option<u64>,
    pub(crate) client: Option<String>,
    /// The methods that it offers.
    pub(crate) methods: Option<BTreeSet<String>>,
    /// Seconds by which its clock is before (+) or behind (−) ours, by the `Date` header.
    pub(crate) skew: Option<i64>,
    /// How long its first answer took.
    pub(crate) took: Duration,
    /// Its first block and its newest, if they were asked for.
    pub(crate) genesis: Option<Block>,
    pub(crate) head: Option<Block>,
    /// What it says of forks (`eth_config`), if it was asked and knows.
    pub(crate) forks: Option<Forks>,
}

/// What came of one node.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) answers: Answers,
    /// What is wrong, if something is.
    pub(crate) wrong: Option<Failure>,
    /// What works but deserves a look.
    pub(crate) odd: Option<String>,
}

impl Verdict {
    pub(crate) fn right(&self) -> bool {
        self.wrong.is_none()
    }
}

impl Answers {
    /// Takes in the reply to `method`.
    pub(crate) fn take(&mut self, method: &str, reply: &HttpReply, now: SystemTime) {
        if let Some(skew) = skew(reply, now) {
            self.skew = Some(skew);
        }
        match reply.status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.wanted == Wanted::Refusal => {
                self.wants_token = true;
                return;
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.failed = Some(self.refused(reply.status));
                return;
            }
            status => {
                let port = self.wanted.port();
                self.failed = Some(Failure::new(
                    format!("answered {method} with HTTP {status}, is this its {port} port?"),
                    format!("give the URL of its {port} port, or read its log"),
                ));
                return;
            }
        }
        if self.wanted == Wanted::AnyReply {
            return;
        }
        let Ok(parsed) = parse_reply(&reply.body) else {
            self.failed = Some(Failure::new(
                format!("answered {method} with something that is no JSON-RPC reply"),
                "give the URL of a node: something else answers there",
            ));
            return;
        };
        match (method, parsed.outcome) {
            ("eth_chainId", Outcome::Result(result)) => {
                let hex = string(&result).unwrap_or_default();
                self.chain = hex.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            }
            ("engine_exchangeCapabilities", Outcome::Result(result)) => {
                self.methods = elements(&result)
                    .map(|methods| methods.iter().filter_map(string).map(|name| printable(&name)).collect());
            }
            ("engine_getClientVersionV1", Outcome::Result(result)) => {
                let first = elements(&result).and_then(|versions| versions.into_iter().next());
                self.client = first.and_then(|version| {
                    let [name, version] = fields(&version, ["name", "version"])?;
                    let text = |field: Option<_>| field.as_ref().and_then(string).unwrap_or_default();
                    Some(printable(&format!("{}/{}", text(name), text(version))))
                });
            }
            ("web3_clientVersion", Outcome::Result(result)) => {
                self.client = string(&result).map(|version| printable(&version));
            }
            ("eth_getBlockByNumber", Outcome::Result(result)) => match Block::read(&result) {
                Some(block) if block.number == 0 => self.genesis = Some(block),
                read => self.head = read,
            },
            ("eth_config", Outcome::Result(result)) => self.forks = Forks::read(&result),
            // Methods came with time: a node that lacks one is judged by what it does tell.
            _ => {}
        }
    }

    fn refused(&self, status: StatusCode) -> Failure {
        let number = status.as_u16();
        if self.wanted != Wanted::EngineApi {
            let what = format!("refuses us (HTTP {number}), does its URL need user:password@?");
            return Failure::new(
                what,
                "write user:password@ before its host, or let it take calls from here",
            );
        }
        let file = "give both the same file: this node's is jwt_secret, or #jwt-secret=FILE after its URL";
        match self.skew {
            Some(skew) if skew.abs() > 55 => Failure::new(
                format!(
                    "refuses the token (HTTP {number}): its clock is {skew:+} s from ours, and 60 s is too much"
                ),
                "set the clock that is wrong, and have both kept by NTP",
            ),
            Some(_) => Failure::new(
                format!("refuses the token (HTTP {number}): its secret is another one, clocks agree"),
                file,
            ),
            None => Failure::new(
                format!("refuses the token (HTTP {number}): its secret is another one, or its clock is off"),
                file,
            ),
        }
    }
}

/// Compares what the nodes said. `groups` says whose nodes have to be on one chain.
pub(crate) fn judge(groups: &[&str], answers: &[Answers]) -> Vec<Verdict> {
    let chain_of = |group: &str| {
        let of_group = groups.iter().zip(answers).filter(|(of, _)| **of == group);
        let chains: Vec<u64> = of_group.filter_map(|(_, answers)| answers.chain).collect();
        let votes = |chain: u64| chains.iter().filter(|other| **other == chain).count();
        // The first in order where two are equally many.
        chains.iter().copied().rev().max_by_key(|chain| votes(*chain))
    };
    groups
        .iter()
        .zip(answers)
        .map(|(group, answers)| {
            let chain = chain_of(group);
            let wrong = match (&answers.failed, answers.chain, &answers.methods) {
                (Some(why), ..) => Some(why.clone()),
                (None, Some(own), _) if Some(own) != chain => Some(Failure::new(
                    format!("is on chain {own}, the others are on {}", chain.unwrap_or_default()),
                    "take it off the list, or start it on the others' network",
                )),
                (None, None, _) if answers.wanted != Wanted::AnyReply && !answers.wants_token => {
                    Some(Failure::new(
                        "does not tell its chain id",
                        "let its eth_chainId be called: is eth among its APIs?",
                    ))
                }
                (None, _, None) if answers.wanted == Wanted::EngineApi => Some(Failure::new(
                    "offers no Engine API (engine_exchangeCapabilities failed), is this its Engine API port?",
                    "give the URL of its Engine API port, 8551 mostly",
                )),
                _ => None,
            };
            let odd = answers.skew.filter(|skew| skew.abs() >= ODD_SKEW && wrong.is_none());
            Verdict {
                answers: answers.clone(),
                wrong,
                odd: odd
                    .map(|skew| format!("its clock is {skew:+} s from ours, at 60 s it refuses every call"))
                    .or_else(|| answers.wants_token.then(|| WANTS_TOKEN.to_owned())),
            }
        })
        .collect()
}

/// By how many seconds a clock is before ours, by the `Date` header.
pub(crate) fn skew(reply: &HttpReply, now: SystemTime) -> Option<i64> {
    let date = httpdate::parse_http_date(reply.headers().get("date")?.to_str().ok()?).ok()?;
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok())
    };
    Some(seconds(date)? - seconds(now)?)
}

/// A node's own words, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(48).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reply(status: u16, date: Option<SystemTime>, body: &str) -> HttpReply {
        let mut headers = http::HeaderMap::new();
        if let Some(date) = date {
            headers.insert("date", httpdate::fmt_http_date(date).parse().unwrap());
        }
        HttpReply::new(StatusCode::from_u16(status).unwrap(), &headers, body.to_owned().into())
    }

    #[test]
    fn a_refused_token_is_put_down_to_clock_or_secret() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (date, told) in [
            (Some(now + Duration::from_secs(90)), "clock is +90 s from ours"),
            (Some(now), "secret is another one, clocks agree"),
            (None, "or its clock is off"),
        ] {
            let mut answers = Answers::default();
            answers.take("eth_chainId", &reply(401, date, ""), now);
            assert!(answers.failed.clone().unwrap().what.contains(told), "{answers:?}");
        }
    }

    #[test]
    fn replies_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut answers = Answers::default();
        for (method, result) in [
            ("eth_chainId", r#""0x88bb0""#),
            ("engine_exchangeCapabilities", r#"["a","b"]"#),
            ("engine_getClientVersionV1", "[{\"name\":\"Geth\",\"version\":\"v1.16\\u001b[31m\"}]"),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            answers.take(method, &reply(200, Some(now + Duration::from_secs(40)), &body), now);
        }
        assert_eq!(answers.chain, Some(560_048));
        assert_eq!(answers.methods.as_ref().map(BTreeSet::len), Some(2));
        assert_eq!(answers.client.as_deref(), Some("Geth/v1.16[31m"));
        let verdict = &judge(&["engine"], &[answers])[0];
        assert!(verdict.right());
        assert!(verdict.odd.as_ref().unwrap().contains("+40 s"));
    }

    #[test]
    fn a_node_that_lacks_a_method_is_judged_by_the_rest() {
        let now = SystemTime::UNIX_EPOCH;
        let mut answers = Answers { chain: Some(1), ..Answers::default() };
        let lacks = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
        answers.take("engine_getClientVersionV1", &reply(200, None, lacks), now);
        assert_eq!(answers.failed, None);
        answers.take("engine_exchangeCapabilities", &reply(200, None, lacks), now);
        assert!(judge(&["engine"], &[answers])[0].wrong.as_ref().unwrap().what.contains("no Engine API"));
    }

    #[test]
    fn who_wants_a_token_that_we_lack_is_there_at_least() {
        let now = SystemTime::UNIX_EPOCH;
        let asked = |status, body| {
            let mut answers = Answers { wanted: Wanted::Refusal, ..Answers::default() };
            answers.take("eth_chainId", &reply(status, None, body), now);
            judge(&["sync"], &[answers]).remove(0)
        };
        let refused = asked(401, "");
        assert!(refused.right() && refused.odd.unwrap().contains("#jwt-secret=FILE"));
        let open = asked(200, r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#);
        assert!(open.right() && open.odd.is_none());
        assert!(asked(404, "").wrong.unwrap().what.contains("Engine API port"));
        assert!(!asked(200, r#"{"jsonrpc":"2.0","id":1,"result":null}"#).right());
    }

    #[test]
    fn the_odd_chain_out_is_told_within_its_role_only() {
        let on = |chain| Answers { chain: Some(chain), methods: Some(BTreeSet::new()), ..Answers::default() };
        let silent = |wanted| Answers { wanted, ..Answers::default() };
        assert!(judge(&["rpc"], &[silent(Wanted::AnyReply)])[0].right());
        assert!(!judge(&["rpc"], &[silent(Wanted::Chain)])[0].right());
        assert!(judge(&["rpc"], &[Answers { methods: None, wanted: Wanted::Chain, ..on(1) }])[0].right());
        let verdicts = judge(&["a", "a", "a", "b"], &[on(5), on(1), on(1), on(7)]);
        let wrong: Vec<_> =
            verdicts.iter().map(|verdict| verdict.wrong.clone().map(|wrong| wrong.what)).collect();
        assert_eq!(wrong, [Some("is on chain 5, the others are on 1".to_owned()), None, None, None]);
        assert!(judge(&["a", "a"], &[on(5), on(1)])[0].right(), "the first of two decides");
    }
}
