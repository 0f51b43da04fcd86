#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // some point in time

use super::*;

mod agreement;
mod failback;
mod properties;
mod suspicion;

const SLOT: u64 = 12_000;
/// The clock's slot when a scene begins.
const FIRST: u64 = 100;

/// A block by number, and its parent.
fn block(n: u64) -> Hash {
    let mut bytes = [0xb1; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Hash(bytes)
}

fn cl(name: &str) -> Client {
    Client::id(name).unwrap()
}

/// A leader, with time in milliseconds since the scene began. Slot `FIRST` begins with it.
struct Scene {
    leader: Leader,
    start: Instant,
}

impl Scene {
    fn of(rules: Rules) -> Self {
        let start = Instant::now();
        Self { leader: Leader::new(rules, Now { at: start, slot: FIRST }), start }
    }

    fn new() -> Self {
        Self::of(Rules::new(Duration::from_millis(SLOT)))
    }

    fn now(&self, ms: u64) -> Now {
        Now { at: self.start + Duration::from_millis(ms), slot: FIRST + ms / SLOT }
    }

    fn heard(&mut self, ms: u64, who: &str, heard: Heard) -> Option<Change> {
        self.leader.heard(&cl(who), heard, self.now(ms))
    }

    fn call(&mut self, ms: u64, who: &str) -> Option<Change> {
        self.heard(ms, who, Heard::Call)
    }

    /// The payload of slot `n`, whose number is the slot's.
    fn payload(&mut self, ms: u64, who: &str, n: u64) -> Option<Change> {
        self.heard(ms, who, Heard::Payload { hash: block(n), parent: block(n - 1), slot: n })
    }

    fn head(&mut self, ms: u64, who: &str, hash: Hash) -> Option<Change> {
        self.heard(ms, who, Heard::Head { hash, building: None })
    }

    /// Payload and head of slot `n`; the change that the payload brought.
    fn block(&mut self, ms: u64, who: &str, n: u64) -> Option<Change> {
        let change = self.payload(ms, who, n);
        let second = self.head(ms, who, block(n));
        change.or(second)
    }

    /// Looks whenever it is due up to then; the changes with their times.
    fn pass(&mut self, until: u64) -> Vec<(u64, Change)> {
        let mut changes = Vec::new();
        while let Some(at) = self.leader.next_look().filter(|at| *at <= self.now(until).at) {
            let ms = at.duration_since(self.start).as_millis() as u64;
            changes.extend(self.leader.look(self.now(ms)).map(|change| (ms, change)));
        }
        assert_eq!(self.leader.look(self.now(until)), None, "all that time changes was told by next_look");
        changes
    }

    fn leads(&self) -> String {
        self.leader.leader().unwrap().to_string()
    }

    fn state(&self, who: &str) -> State {
        let who = cl(who);
        self.leader.view().find(|seen| *seen.client == who).unwrap().state
    }

    fn slot(&self, who: &str) -> Option<u64> {
        let who = cl(who);
        self.leader.view().find(|seen| *seen.client == who).unwrap().slot
    }
}

/// The one change there is: when, to whom, and why.
fn only(changes: &[(u64, Change)]) -> (u64, String, String) {
    let [(ms, change)] = changes else { panic!("{changes:?}") };
    (*ms, change.to.to_string(), change.why.to_string())
}

#[test]
fn the_first_to_call_leads_at_once() {
    for heard in [
        Heard::Call,
        Heard::Payload { hash: block(90), parent: block(89), slot: 90 },
        Heard::Head { hash: block(90), building: None },
        Heard::Head { hash: Hash::ZERO, building: Some(FIRST) },
    ] {
        let mut s = Scene::new();
        assert_eq!(s.leader.leader(), None);
        let change = s.heard(5, "a", heard).unwrap();
        assert_eq!(change, Change { from: None, to: cl("a"), why: Why::First });
        assert_eq!(s.block(6, "b", FIRST), None, "sticky from the first on");
        assert!(s.leader.leads(&cl("a")) && !s.leader.leads(&cl("b")));
    }
}

#[test]
fn a_follower_that_is_always_quicker_doesnt_take_the_lead() {
    let mut s = Scene::new();
    s.block(1_000, "slow", FIRST);
    for n in 0..50 {
        let at = n * SLOT;
        assert_eq!(s.pass(at + 1_000), []);
        assert_eq!(s.block(at + 1_000, "quick", FIRST + n), None);
        assert_eq!(s.pass(at + 4_500), []);
        assert_eq!(s.block(at + 4_500, "slow", FIRST + n), None);
    }
    assert_eq!(s.leads(), "slow");
}

#[test]
fn who_sends_nothing_for_leader_timeout_loses_the_lead() {
    let mut s = Scene::new();
    s.call(1_000, "a");
    s.call(13_000, "b");
    assert_eq!(s.pass(24_999), []);
    assert_eq!(only(&s.pass(26_000)), (25_000, "b".into(), "it has sent nothing for 24s".into()));
    assert_eq!(s.state("a"), State::Silent);
    // By a setting.
    let mut s =
        Scene::of(Rules { leader_timeout: Duration::from_secs(5), ..Rules::new(Duration::from_secs(12)) });
    s.call(0, "a");
    s.call(1_000, "b");
    assert_eq!(only(&s.pass(5_500)).0, 5_000);
}

#[test]
fn the_last_leader_stays_while_nobody_is_fit_and_the_next_to_call_takes_over() {
    let mut s = Scene::new();
    s.call(0, "a");
    s.call(1_000, "b");
    assert_eq!(only(&s.pass(600_000)), (24_000, "b".into(), "it has sent nothing for 24s".into()));
    assert_eq!((s.leads(), s.state("b")), ("b".into(), State::Silent));
    let change = s.call(600_001, "a").unwrap();
    assert_eq!((change.to, change.why.word()), (cl("a"), "silent"));
    // A leader that was silent, alone, is the leader again without a word.
    s.pass(900_000);
    assert_eq!(s.call(900_001, "a"), None);
    assert_eq!(s.state("a"), State::Well);
}

#[test]
fn who_is_gone_loses_the_lead_at_once_and_is_back_when_it_is_heard() {
    let mut s = Scene::new();
    s.call(0, "a");
    s.call(0, "b");
    let change = s.leader.gone(&cl("a"), s.now(10)).unwrap();
    assert_eq!(
        (change.from, change.to, change.why.to_string()),
        (Some(cl("a")), cl("b"), "its connection is gone".into())
    );
    assert_eq!(s.state("a"), State::Gone);
    assert_eq!(s.leader.gone(&cl("nobody"), s.now(11)), None);
    assert_eq!(s.call(20, "a"), None, "sticky");
    assert_eq!(s.state("a"), State::Well);
    // With nobody else it stays the leader.
    s.leader.gone(&cl("a"), s.now(30));
    assert_eq!(s.leader.gone(&cl("b"), s.now(31)), None);
    assert_eq!(s.leads(), "b");
    assert_eq!(s.call(32, "a").unwrap().why, Why::Gone);
}

#[test]
fn the_next_leader_is_the_one_with_the_highest_slot() {
    let mut s = Scene::new();
    s.block(SLOT, "old", FIRST + 1);
    s.block(SLOT, "b", FIRST);
    s.block(SLOT, "c", FIRST + 1);
    s.block(SLOT, "d", FIRST);
    s.call(SLOT, "e");
    assert_eq!(s.leader.gone(&cl("old"), s.now(SLOT + 1)).unwrap().to, cl("c"));
    s.leader.gone(&cl("c"), s.now(SLOT + 2));
    assert_eq!(s.leads(), "b", "of equals the least key");
    s.leader.gone(&cl("b"), s.now(SLOT + 3));
    s.leader.gone(&cl("d"), s.now(SLOT + 4));
    assert_eq!(s.leads(), "e", "one that told no slot is the last");
}

/// The leader lives, but stays where it is.
fn left_behind(max_lag: u64, at_first: u64, later: impl Fn(u64) -> u64) -> Vec<(u64, Change)> {
    let mut s = Scene::of(Rules { max_lag, ..Rules::new(Duration::from_millis(SLOT)) });
    let mut changes = Vec::new();
    s.block(1_000, "a", at_first);
    s.block(1_000, "b", FIRST);
    for n in 1..10 {
        let at = n * SLOT;
        changes.extend(s.pass(at + 1_000));
        changes.extend(s.block(at + 1_000, "b", FIRST + n).map(|c| (at + 1_000, c)));
        // Within a third of a slot: it isn't silent.
        changes.extend(s.pass(at + 2_000));
        changes.extend(s.block(at + 2_000, "a", later(n)).map(|c| (at + 2_000, c)));
    }
    changes
}

#[test]
fn who_is_behind_by_max_lag_for_two_slots_loses_the_lead() {
    let (at, to, why) = only(&left_behind(1, FIRST, |_| FIRST));
    assert_eq!((at, to.as_str()), (3 * SLOT + 1_000, "b"), "since slot 1 was shown, two slots long");
    // The look that was due comes before the block of that slot.
    assert_eq!(why, "it is 2 slots behind the best, and has been behind for 24s");
    let (at, ..) = only(&left_behind(3, FIRST, |_| FIRST));
    assert_eq!(at, 5 * SLOT + 1_000, "since slot 3 was shown");
    let (_, _, why) = only(&left_behind(1, FIRST, |n| FIRST + n - 1));
    assert_eq!(why, "it is a slot behind the best, for 24s now", "always a slot late");
    // Late within the slot, or two slots behind where three are allowed.
    assert_eq!(left_behind(1, FIRST, |n| FIRST + n), []);
    assert_eq!(left_behind(3, FIRST, |n| FIRST + n - 2 + (n < 2) as u64), []);
    // None is one: who is up with the best isn't behind.
    assert_eq!(left_behind(0, FIRST, |n| FIRST + n), []);
    assert_eq!(left_behind(0, FIRST, |_| FIRST), left_behind(1, FIRST, |_| FIRST));
    // Once in a while it catches up.
    assert_eq!(left_behind(1, FIRST, |n| FIRST + n / 2 * 2), []);
}

#[test]
fn who_never_shows_a_slot_is_behind_those_who_do() {
    let mut s = Scene::new();
    s.call(0, "a");
    s.block(1_000, "b", FIRST);
    s.call(2_000, "a");
    s.pass(20_000);
    s.call(20_000, "a");
    s.block(20_000, "b", FIRST + 1);
    s.call(21_000, "a");
    assert_eq!(
        only(&s.pass(30_000)),
        (25_000, "b".into(), "it has shown no slot for 24s in which others have".into())
    );
}

#[test]
fn a_silent_leader_loses_the_lead_at_once_when_another_is_a_slot_ahead() {
    let mut s = Scene::new();
    s.block(1_000, "a", FIRST);
    s.block(1_000, "b", FIRST);
    s.pass(14_000);
    assert_eq!(s.block(14_000, "b", FIRST + 1), None, "somebody always is the first to have a block");
    let (at, to, why) = only(&s.pass(20_000));
    assert_eq!((at, to.as_str()), (18_000, "b"), "long before leader_timeout");
    assert_eq!(why, "another is a slot ahead, and it has said nothing in the 4s since");
}

#[test]
fn a_leader_that_says_anything_is_not_silent() {
    let mut s = Scene::new();
    s.block(1_000, "a", FIRST);
    s.block(13_000, "b", FIRST + 1);
    s.call(16_000, "a");
    assert_eq!(s.pass(24_000), []);
    // Each later slot asks anew.
    s.block(25_000, "b", FIRST + 2);
    assert_eq!(only(&s.pass(30_000)).0, 29_000);
    // Nobody is ahead: silence alone isn't enough.
    let mut s = Scene::new();
    s.block(1_000, "a", FIRST);
    s.block(13_000, "b", FIRST);
    assert_eq!(s.pass(24_999), []);
}

#[test]
fn attributes_tell_how_late_it_is_and_not_how_far_one_has_got() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.block(0, "b", FIRST);
    // Cut off from its peers: its head stays, it builds on it in every slot.
    for n in 1..3 {
        s.pass(n * SLOT);
        s.heard(n * SLOT, "a", Heard::Head { hash: block(FIRST), building: Some(FIRST + n + 1) });
        s.block(n * SLOT, "b", FIRST + n);
        s.heard(n * SLOT + 1, "a", Heard::Call);
        assert_eq!(s.slot("a"), Some(FIRST));
    }
    assert_eq!(only(&s.pass(3 * SLOT)).0, 3 * SLOT);
    // A head that nobody has sent, from before this process began, tells nothing until the payload does.
    let mut s = Scene::new();
    s.heard(0, "a", Heard::Head { hash: block(95), building: Some(FIRST) });
    s.leader.taken(block(95), true, s.now(0));
    assert_eq!(s.slot("a"), None);
    s.payload(1, "a", 95);
    assert_eq!(s.slot("a"), Some(95));
    s.heard(2, "a", Heard::Head { hash: block(95), building: Some(FIRST + 1) });
    assert_eq!(s.slot("a"), Some(95));
    s.heard(3, "a", Heard::Head { hash: block(7), building: Some(0) });
    s.pass(SLOT);
    assert_eq!(s.slot("a"), None);
}

#[test]
fn room_is_kept_for_the_live_and_for_those_with_names() {
    let order = vec![cl("named")];
    let rules = Rules { max_strangers: 3, order, ..Rules::new(Duration::from_millis(SLOT)) };
    let mut s = Scene::of(rules);
    let known = |s: &Scene| s.leader.view().map(|seen| seen.client.to_string()).collect::<Vec<_>>();
    s.call(0, "a");
    s.call(1, "b");
    s.call(2, "c");
    assert_eq!(s.call(3, "d"), None);
    assert_eq!(known(&s), ["a", "b", "c"], "all of them live");
    assert_eq!(s.leader.turned_away(), 1);
    s.call(4, "named");
    assert_eq!(known(&s), ["a", "b", "c", "named"]);
    assert_eq!(s.leads(), "named");
    s.call(20_000, "b");
    s.call(20_000, "named");
    s.pass(30_000);
    s.call(30_000, "d");
    assert_eq!(known(&s), ["b", "c", "d", "named"], "the one not heard for longest went");
    // The leader is never forgotten, nor the named, however silent.
    s.leader.gone(&cl("named"), s.now(30_001));
    s.pass(900_000);
    let leader = s.leads();
    for n in 0..10 {
        s.heard(
            900_000 + n,
            &format!("x{n}"),
            Heard::Payload { hash: block(1), parent: block(0), slot: u64::MAX },
        );
    }
    assert_eq!(known(&s).len(), 4);
    assert!(known(&s).contains(&leader) && known(&s).contains(&"named".to_owned()));
    assert_eq!(s.call(900_100, "real").unwrap().to, cl("real"), "liars keep nobody out");
}

#[test]
fn what_is_said_of_a_change_is_one_line_of_words() {
    let wait = Duration::from_secs(4);
    let head = block(3);
    let table = [
        (Why::First, "first", "nobody led"),
        (Why::Gone, "gone", "its connection is gone"),
        (
            Why::Suspect(Suspicion::Refused { head }),
            "suspect",
            "no execution client takes its head 0x0000000000000003b1b1",
        ),
        (
            Why::Suspect(Suspicion::Ahead { slot: 105, clock: 100 }),
            "suspect",
            "it named slot 105, 5 ahead of this machine's clock (100)",
        ),
        (Why::Silent { wait }, "silent", "it has sent nothing for 4s"),
        (
            Why::Behind { by: Some(3), wait },
            "behind",
            "it is 3 slots behind the best, and has been behind for 4s",
        ),
        (Why::Disagrees { head, by: 2, of: 3 }, "disagrees", "2 of 3 are on 0x0000000000000003b1b1"),
        (Why::Preferred { well_for: None }, "preferred", "the new one is named before it"),
        (
            Why::Preferred { well_for: Some(wait) },
            "preferred",
            "the new one is named before it and has been well for 4s",
        ),
    ];
    for (why, word, text) in table {
        assert_eq!(why.word(), word);
        assert!(why.to_string().starts_with(text), "{why}");
    }
}

#[test]
fn endless_waits_are_waits_without_end() {
    let endless = Duration::MAX;
    let mut s = Scene::of(Rules {
        leader_timeout: endless,
        failback_after: endless,
        ..Rules::new(Duration::from_millis(SLOT))
    });
    s.call(0, "a");
    s.call(0, "b");
    assert_eq!(s.leader.next_look(), None);
    assert_eq!(s.pass(1_000_000_000), []);
}

#[test]
fn instants_in_another_order_do_no_harm() {
    let mut s = Scene::new();
    s.call(10_000, "a");
    s.call(5_000, "b");
    assert_eq!(s.leader.gone(&cl("a"), s.now(0)).unwrap().to, cl("b"));
    assert_eq!(s.pass(33_999), []);
    assert_eq!(s.state("b"), State::Well, "heard when the clock was at ten seconds already");
}

#[test]
fn no_head_yet_is_no_head() {
    let mut s = Scene::new();
    s.head(0, "a", Hash::ZERO);
    s.leader.refused(Hash::ZERO, s.now(1));
    assert_eq!((s.leader.view().next().unwrap().head, s.state("a")), (None, State::Well));
}

#[test]
fn a_leader_is_silent_from_the_first_later_slot_on_however_many_come() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST - 60);
    // The other is syncing.
    let mut changes = Vec::new();
    for n in 0..10 {
        changes.extend(s.pass(1_000 + n * 1_000));
        s.block(1_000 + n * 1_000, "b", FIRST - 50 + n);
    }
    assert_eq!(only(&changes).0, 5_000);
}

#[test]
fn of_many_blocks_a_few_are_kept_the_same_in_any_order() {
    let kept = |order: &mut dyn Iterator<Item = u64>| {
        let mut s = Scene::new();
        for n in order {
            let slot = FIRST - n % 2;
            s.heard(0, "a", Heard::Payload { hash: block(n), parent: block(0), slot });
        }
        let mut hashes: Vec<Hash> =
            s.leader.records[&cl("a")].claims.iter().map(|claim| claim.hash).collect();
        hashes.sort();
        hashes
    };
    let upwards = kept(&mut (1..100));
    assert_eq!(upwards.len(), record::CLAIMS);
    assert_eq!(upwards, kept(&mut (1..100).rev()));
}

#[test]
fn there_is_room_for_one_stranger_at_least() {
    let mut s = Scene::of(Rules { max_strangers: 0, ..Rules::new(Duration::from_millis(SLOT)) });
    assert_eq!(s.call(0, "a").unwrap().why, Why::First);
}
