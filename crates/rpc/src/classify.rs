//! What a request is: its lane, how it is tried again, whether its key may send it now.
//!
//! The headers are prio-load-balancer's: `X-Fast-Track` wins over `X-High-Priority` and its older name `high_prio`; each
//! counts only as exactly `true`. An operator's rules come before them: the first rule that matches and names a lane decides, so
//! that a key that is to be low can't make itself urgent.
//!
//! A rule matches when everything it names does. Of a batch, every call's method has to match for lane and retry; one
//! is enough for a rate limit, which counts each matching call.

use std::num::NonZeroU32;

use http::{HeaderMap, HeaderName};

use crate::glob;
use crate::lane::Lane;
use crate::limits::Rate;
use crate::nature::{Methods, Nature};

// Named once: a name that is looked up by its text is read anew each time.
const FAST_TRACK: HeaderName = HeaderName::from_static("x-fast-track");
const HIGH_PRIORITY: HeaderName = HeaderName::from_static("x-high-priority");
const HIGH_PRIO: HeaderName = HeaderName::from_static("high_prio");

/// How a rule wants a request to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// As if it were idempotent.
    Always,
    /// Not at all.
    Never,
    /// As its method says; a later rule has no say.
    Safe,
}

/// A `[[rpc.rule]]`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Patterns of methods; empty: any, also a body that isn't JSON-RPC.
    pub methods: Vec<String>,
    /// Patterns of paths; empty: any.
    pub paths: Vec<String>,
    /// The header that has the API key.
    pub header: Option<HeaderName>,
    /// The keys that the rule is for; empty: whatever the header has, if it is there.
    pub keys: Vec<String>,
    /// The lane.
    pub lane: Option<Lane>,
    /// How it is tried again.
    pub retry: Option<Retry>,
    /// How many are let through, for each key.
    pub rate: Option<Rate>,
}

impl std::fmt::Debug for Rule {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule")
            .field("methods", &self.methods)
            .field("paths", &self.paths)
            .field("header", &self.header)
            .field("keys", &self.keys.len())
            .field("lane", &self.lane)
            .field("retry", &self.retry)
            .field("rate", &self.rate)
            .finish()
    }
}

/// A request, as far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Path of its URL.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its methods; any will do if no rule [asks for them](Rule::asks_for_methods).
    pub methods: &'a Methods,
}

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its lane.
    pub lane: Lane,
    /// What may be done with it, if a rule says so; else that is as its methods say.
    pub nature: Option<Nature>,
    /// The rate limits that it counts for: those of its own key first, so that a request which its key has no right to takes
    /// nothing of what all share.
    pub limits: Vec<Counted>,
}

/// A rate limit that a request counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Which rule's.
    pub rule: usize,
    /// Of which key; empty for a rule without a header.
    pub key: String,
    /// How often: the number of matching calls of a batch.
    pub times: NonZeroU32,
}

/// The lane that the headers ask for.
#[must_use]
pub fn lane_of_headers(headers: &HeaderMap) -> Lane {
    // Requests have few fields and mostly none of these: to compare names costs less than to hash three.
    let has = |name: &HeaderName| headers.keys().any(|key| key == name);
    let says_true = |name: HeaderName| has(&name) && headers.get(name).is_some_and(|value| value == "true");
    if says_true(FAST_TRACK) {
        Lane::FastTrack
    } else if says_true(HIGH_PRIORITY) || says_true(HIGH_PRIO) {
        Lane::High
    } else {
        Lane::Low
    }
}

/// Judges a request by headers and rules.
#[must_use]
pub fn classify(rules: &[Rule], request: &Request<'_>) -> Class {
    let applying = |rule: &&Rule| rule.matches_place(request).is_some() && rule.matches_all(request.methods);
    let lane = rules.iter().filter(applying).find_map(|rule| rule.lane);
    let nature = match rules.iter().filter(applying).find_map(|rule| rule.retry) {
        Some(Retry::Always) => Some(Nature::Idempotent),
        Some(Retry::Never) => Some(Nature::Never),
        Some(Retry::Safe) | None => None,
    };
    let limits =
        rules.iter().enumerate().filter(|(_, rule)| rule.rate.is_some()).filter_map(|(index, rule)| {
            let key = rule.matches_place(request)?.to_owned();
            let times = NonZeroU32::new(rule.matching_calls(request.methods))?;
            Some(Counted { rule: index, key, times })
        });
    let mut limits: Vec<Counted> = limits.collect();
    limits.sort_by_key(|counted| counted.key.is_empty());
    Class { lane: lane.unwrap_or_else(|| lane_of_headers(request.headers)), nature, limits }
}

impl Rule {
    /// Whether it has to know a request's methods: it names some, or counts the calls of a batch.
    #[must_use]
    pub fn asks_for_methods(&self) -> bool {
        !self.methods.is_empty() || self.rate.is_some()
    }

    /// Whether path and key match; the key, empty if the rule has no header.
    fn matches_place<'a>(&self, request: &Request<'a>) -> Option<&'a str> {
        if !self.paths.is_empty() && !self.paths.iter().any(|path| glob::matches(path, request.path)) {
            return None;
        }
        let Some(header) = &self.header else { return Some("") };
        let key = request.headers.get(header)?.to_str().ok()?;
        // As people send keys in `Authorization`.
        let key = key.strip_prefix("Bearer ").unwrap_or(key).trim();
        let listed = self.keys.is_empty() || self.keys.iter().any(|known| known == key);
        (listed && !key.is_empty()).then_some(key)
    }

    fn names(&self, method: &str) -> bool {
        self.methods.iter().any(|pattern| glob::matches(pattern, method))
    }

    fn matches_all(&self, methods: &Methods) -> bool {
        self.methods.is_empty()
            || (!methods.opaque
                && !methods.names.is_empty()
                && methods.names.iter().all(|name| self.names(name)))
    }

    fn matching_calls(&self, methods: &Methods) -> u32 {
        let calls = if self.methods.is_empty() {
            methods.names.len().max(1)
        } else {
            methods.names.iter().filter(|name| self.names(name)).count()
        };
        u32::try_from(calls).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn methods(names: &[&str]) -> Methods {
        Methods { names: names.iter().map(|name| (*name).to_owned()).collect(), opaque: false }
    }

    fn class(rules: &[Rule], path: &str, given: &[(&str, &str)], names: &[&str]) -> Class {
        classify(rules, &Request { path, headers: &headers(given), methods: &methods(names) })
    }

    #[test]
    fn the_headers_are_prio_load_balancers() {
        for (given, lane) in [
            (&[][..], Lane::Low),
            (&[("X-High-Priority", "true")], Lane::High),
            (&[("high_prio", "true")], Lane::High),
            (&[("X-Fast-Track", "true")], Lane::FastTrack),
            (&[("X-Fast-Track", "true"), ("X-High-Priority", "true")], Lane::FastTrack),
            (&[("X-Fast-Track", "false"), ("X-High-Priority", "true")], Lane::High),
            (&[("X-High-Priority", "True")], Lane::Low),
            (&[("X-High-Priority", "1")], Lane::Low),
            (&[("X-Fast-Track", "TRUE")], Lane::Low),
            (&[("high_priority", "true")], Lane::Low),
        ] {
            assert_eq!(lane_of_headers(&headers(given)), lane, "{given:?}");
        }
    }

    #[test]
    fn a_rule_comes_before_the_headers_and_the_first_one_decides() {
        let rule = |methods: &[&str], lane| Rule {
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
            lane,
            ..Rule::default()
        };
        let keyed = Rule {
            header: Some(HeaderName::from_static("x-api-key")),
            keys: vec!["cheap".into()],
            lane: Some(Lane::Low),
            ..Rule::default()
        };
        let sim = Rule { paths: vec!["/sim*".into()], lane: Some(Lane::High), ..Rule::default() };
        let rules = [keyed, rule(&["eth_callBundle"], Some(Lane::FastTrack)), rule(&["eth_*"], None), sim];
        let fast = ("X-Fast-Track", "true");
        for (path, given, names, lane) in [
            ("/", &[][..], &["eth_callBundle"][..], Lane::FastTrack),
            ("/", &[], &["eth_call"], Lane::Low),
            ("/", &[fast], &["eth_call"], Lane::FastTrack),
            ("/", &[fast, ("X-Api-Key", "cheap")], &["eth_callBundle"], Lane::Low),
            ("/", &[("X-Api-Key", "dear")], &["eth_callBundle"], Lane::FastTrack),
            ("/", &[("Authorization", "Bearer cheap")], &["eth_call"], Lane::Low),
            ("/sim", &[], &[], Lane::High),
            ("/sim/x", &[fast], &["net_version"], Lane::High),
            ("/", &[], &["eth_callBundle", "eth_call"], Lane::Low),
            ("/", &[], &["eth_callBundle", "eth_callBundle"], Lane::FastTrack),
        ] {
            assert_eq!(class(&rules, path, given, names).lane, lane, "{path} {given:?} {names:?}");
        }
    }

    #[test]
    fn a_rule_says_how_often_a_request_may_be_sent() {
        let rule = |method: &str, retry| Rule { methods: vec![method.into()], retry, ..Rule::default() };
        let rules = [rule("eth_sendBundle", Some(Retry::Always)), rule("debug_trace*", Some(Retry::Never))];
        for (name, nature) in [
            ("eth_sendBundle", Some(Nature::Idempotent)),
            ("eth_sendRawTransaction", None),
            ("debug_traceCall", Some(Nature::Never)),
            ("eth_call", None),
        ] {
            assert_eq!(class(&rules, "/", &[], &[name]).nature, nature, "{name}");
        }
    }

    #[test]
    fn a_rate_counts_for_each_key_and_each_matching_call() {
        let one = NonZeroU32::MIN;
        let rate = Some(Rate { per_second: one, burst: one });
        let rules = [
            Rule { methods: vec!["eth_*".into()], rate, ..Rule::default() },
            Rule { header: Some(HeaderName::from_static("x-api-key")), rate, ..Rule::default() },
        ];
        let counted = |given: &[(&str, &str)], names: &[&str]| {
            let limits = class(&rules, "/", given, names).limits;
            limits.into_iter().map(|c| (c.rule, c.key, c.times.get())).collect::<Vec<_>>()
        };
        assert_eq!(counted(&[], &["net_version"]), []);
        assert_eq!(counted(&[("x-api-key", "k")], &[]), [(1, "k".into(), 1)]);
        assert_eq!(
            counted(&[("x-api-key", "k")], &["eth_a", "eth_b", "net_version"]),
            [(1, "k".into(), 3), (0, String::new(), 2)],
            "what is the key's own comes first"
        );
    }

    /// A body of 120 KB needn't be scanned for a rule of paths and keys.
    #[test]
    fn methods_are_asked_for_by_rules_that_name_or_count_them() {
        let lane = Some(Lane::High);
        let place = Rule { paths: vec!["/sim".into()], keys: vec!["k".into()], lane, ..Rule::default() };
        assert!(!place.asks_for_methods());
        assert!(Rule { methods: vec!["*".into()], ..place.clone() }.asks_for_methods());
        let rate = Some(Rate { per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN });
        assert!(Rule { rate, ..place }.asks_for_methods());
    }

    #[test]
    fn keys_are_never_shown() {
        let rule = Rule { keys: vec!["hunter2".into()], ..Rule::default() };
        assert!(!format!("{rule:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn without_rules_the_headers_alone_decide(fast: bool, high: bool, names in prop::collection::vec("[a-z_]{0,12}", 0..4)) {
            let mut given = Vec::new();
            if fast { given.push(("x-fast-track", "true")); }
            if high { given.push(("x-high-priority", "true")); }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let class = class(&[], "/", &given, &names);
            let wanted = if fast { Lane::FastTrack } else if high { Lane::High } else { Lane::Low };
            prop_assert_eq!(class.lane, wanted);
            prop_assert!(class.limits.is_empty());
        }
    }
}
