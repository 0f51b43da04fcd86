use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What happens, by the number of who does it.
#[derive(Clone, Debug)]
enum Event {
    /// Calls, its head so many slots behind the clock.
    Block(usize, u64),
    Head(usize, u64, Option<u64>),
    Call(usize),
    Ahead(usize, u64),
    Gone(usize),
    Refused(u64),
    Taken(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..NAMES.len();
    prop_oneof![
        8 => (who.clone(), 0..4_u64).prop_map(|(who, lag)| Event::Block(who, lag)),
        2 => (who.clone(), 0..4_u64, proptest::option::of(0..3_u64))
            .prop_map(|(who, lag, building)| Event::Head(who, lag, building)),
        3 => who.clone().prop_map(Event::Call),
        1 => (who.clone(), prop_oneof![2..20_u64, Just(u64::MAX)]).prop_map(|(who, by)| Event::Ahead(who, by)),
        1 => who.prop_map(Event::Gone),
        1 => (0..4_u64).prop_map(Event::Refused),
        1 => (0..4_u64).prop_map(Event::Taken),
    ]
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    vec((prop_oneof![Just(0), 0..3_000_u64, 0..30_000_u64], event()), 1..80)
}

fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), 1..3_u64, 0..3_usize, 1..60_u64).prop_map(|(agreement, max_lag, named, failback)| Rules {
        agreement,
        max_lag,
        order: NAMES[..named].iter().map(|name| cl(name)).collect(),
        failback_after: Duration::from_secs(failback),
        ..Rules::new(Duration::from_millis(SLOT))
    })
}

impl Scene {
    fn happen(&mut self, ms: u64, event: &Event) -> Option<Change> {
        let now = self.now(ms);
        let slot = |lag: u64| now.slot - lag;
        match *event {
            Event::Block(who, lag) => self.block(ms, NAMES[who], slot(lag)),
            Event::Head(who, lag, building) => {
                let building = building.map(|lag| slot(lag) + 1);
                self.heard(ms, NAMES[who], Heard::Head { hash: block(slot(lag)), building })
            }
            Event::Call(who) => self.call(ms, NAMES[who]),
            Event::Ahead(who, by) => {
                let slot = now.slot.saturating_add(by);
                self.heard(ms, NAMES[who], Heard::Payload { hash: block(slot), parent: block(1), slot })
            }
            Event::Gone(who) => self.leader.gone(&cl(NAMES[who]), now),
            Event::Refused(lag) => self.leader.refused(block(slot(lag)), now),
            Event::Taken(lag) => self.leader.taken(block(slot(lag)), lag % 2 == 0, now),
        }
    }
}

/// Who is fresh, kept by other means than the leader's: last heard, and not gone since.
#[derive(Default)]
struct Fresh(BTreeMap<usize, Option<u64>>);

impl Fresh {
    fn take(&mut self, ms: u64, event: &Event) {
        match *event {
            Event::Block(who, _) | Event::Head(who, ..) | Event::Call(who) => self.0.insert(who, Some(ms)),
            Event::Gone(who) => self.0.insert(who, None),
            _ => None,
        };
    }

    fn is(&self, name: &str, ms: u64) -> bool {
        let who = NAMES.iter().position(|other| *other == name).unwrap();
        self.0.get(&who).copied().flatten().is_some_and(|heard| ms - heard < 2 * SLOT)
    }
}

/// What must hold at any time.
fn check(s: &Scene, fresh: &Fresh, ms: u64, led: bool) -> Result<(), TestCaseError> {
    let seen: Vec<Seen<'_>> = s.leader.view().collect();
    let leading: Vec<&Seen<'_>> = seen.iter().filter(|seen| seen.leads).collect();
    prop_assert_eq!(leading.len(), usize::from(s.leader.leader().is_some()));
    let Some(leading) = leading.first() else {
        prop_assert!(!led, "the lead was lost to nobody");
        return Ok(());
    };
    let is_fresh = |seen: &Seen<'_>| fresh.is(&seen.client.to_string(), ms);
    let is_suspect = |seen: &Seen<'_>| matches!(seen.state, State::Suspect(_));
    let better = seen.iter().find(|seen| is_fresh(seen) && !is_suspect(seen));
    if let Some(better) = better {
        prop_assert!(is_fresh(leading), "{} is stale, {} is fresh", leading.client, better.client);
        prop_assert!(!is_suspect(leading), "{} is suspect, {} isn't", leading.client, better.client);
    }
    for seen in &seen {
        prop_assert!(seen.slot.is_none_or(|slot| slot <= s.now(ms).slot), "{} is in the future", seen.client);
    }
    prop_assert!(s.leader.next_look().is_none_or(|at| at > s.now(ms).at));
    Ok(())
}

proptest! {
    #[test]
    fn there_is_one_leader_at_any_time_and_it_is_stale_or_suspect_only_if_all_are(
        rules in rules(), events in events(),
    ) {
        let mut s = Scene::of(rules);
        let mut fresh = Fresh::default();
        let (mut ms, mut led) = (0, false);
        for (wait, event) in events {
            let until = ms + wait;
            // Up to the very moment, by looks alone.
            while let Some(at) = s.leader.next_look().filter(|at| *at <= s.now(until).at) {
                let due = at.duration_since(s.start).as_millis() as u64;
                s.leader.look(s.now(due));
                check(&s, &fresh, due, led)?;
            }
            ms = until;
            prop_assert_eq!(s.leader.look(s.now(ms)), None, "time changed something that next_look had not told");
            let before = s.leader.leader().cloned();
            let mut watched = before.clone();
            let change = s.happen(ms, &event);
            if let Some(change) = &change {
                prop_assert_eq!(&change.from, &before);
                watched = Some(change.to.clone());
            }
            // A block is two calls: each may have changed the lead.
            if !matches!(event, Event::Block(..)) {
                prop_assert_eq!(s.leader.leader(), watched.as_ref(), "a change that nobody was told of");
            }
            fresh.take(ms, &event);
            check(&s, &fresh, ms, led)?;
            led |= s.leader.leader().is_some();
        }
    }

    #[test]
    fn who_only_lies_leads_never_and_changes_nothing_for_others(
        rules in rules(), events in events(), lies in vec((0..80_usize, 2..u64::MAX, any::<bool>()), 1..40),
    ) {
        let (mut with, mut without) = (Scene::of(rules.clone()), Scene::of(rules));
        let mut ms = 0;
        for (n, (wait, event)) in events.iter().enumerate() {
            ms += wait;
            with.pass(ms);
            without.pass(ms);
            for (_, by, building) in lies.iter().filter(|(when, ..)| *when == n) {
                let slot = with.now(ms).slot.saturating_add(*by);
                let heard = match building {
                    true => Heard::Head { hash: block(n as u64), building: Some(slot) },
                    false => Heard::Payload { hash: block(slot), parent: block(n as u64), slot },
                };
                prop_assert_eq!(with.heard(ms, "liar", heard), None);
            }
            with.happen(ms, event);
            without.happen(ms, event);
            prop_assert_eq!(with.leader.leader(), without.leader.leader());
            prop_assert_ne!(with.leader.leader(), Some(&cl("liar")));
        }
    }

    /// Calls of one moment, those of each CL in their order, those of several in any: what each is is the same, a leader that
    /// led before and stays well still leads, and when it fails the same one follows.
    #[test]
    fn the_order_in_which_different_ones_call_changes_nothing(
        agreement: bool,
        calls in vec((0..4_usize, prop_oneof![
            (0..4_u64).prop_map(|lag| Event::Block(0, lag)),
            (0..4_u64, proptest::option::of(0..3_u64)).prop_map(|(lag, b)| Event::Head(0, lag, b)),
            Just(Event::Call(0)),
            (2..5_u64).prop_map(|by| Event::Ahead(0, by)),
        ]), 1..30),
        refused in vec(0..4_u64, 0..2),
        mix in vec(any::<u32>(), 30),
    ) {
        let run = |sequence: &[(usize, Event)]| {
            let rules = Rules { agreement, ..Rules::new(Duration::from_millis(SLOT)) };
            let mut s = Scene::of(rules);
            let ms = SLOT / 2;
            s.block(0, "e", FIRST);
            for lag in &refused {
                s.happen(0, &Event::Refused(*lag + 1));
            }
            for (who, event) in sequence {
                let event = match *event {
                    Event::Block(_, lag) => Event::Block(*who, lag),
                    Event::Head(_, lag, building) => Event::Head(*who, lag, building),
                    Event::Ahead(_, by) => Event::Ahead(*who, by),
                    _ => Event::Call(*who),
                };
                s.happen(ms, &event);
            }
            s
        };
        // Each CL's calls stay in order; which CL is next comes of the mix.
        let mut queues: Vec<Vec<(usize, Event)>> = vec![Vec::new(); 4];
        calls.iter().rev().for_each(|(who, event)| queues[*who].push((*who, event.clone())));
        let mut mixed = Vec::new();
        for n in mix.iter().cycle().take(30 * 8) {
            let open: Vec<usize> = (0..4).filter(|q| !queues[*q].is_empty()).collect();
            let Some(q) = open.get(*n as usize % open.len().max(1)) else { break };
            mixed.extend(queues[*q].pop());
        }
        prop_assert_eq!(mixed.len(), calls.len());
        let (mut one, mut other) = (run(&calls), run(&mixed));
        let facts = |s: &Scene| {
            s.leader.view().map(|v| (v.client.clone(), v.slot, v.head, v.state)).collect::<Vec<_>>()
        };
        prop_assert_eq!(facts(&one), facts(&other));
        if !agreement {
            prop_assert_eq!(one.leads(), "e");
            prop_assert_eq!(other.leads(), "e");
            one.leader.gone(&cl("e"), one.now(SLOT / 2));
            other.leader.gone(&cl("e"), other.now(SLOT / 2));
            prop_assert_eq!(one.leads(), other.leads());
        }
    }

    /// Where the operator named all, the same one leads in the end whatever happened before.
    #[test]
    fn with_names_the_first_of_the_well_leads_in_the_end(
        agreement: bool, events in events(), well in proptest::collection::btree_set(0..NAMES.len(), 1..=NAMES.len()),
    ) {
        let order = NAMES.iter().map(|name| cl(name)).collect();
        let mut s = Scene::of(Rules { agreement, order, ..Rules::new(Duration::from_millis(SLOT)) });
        let mut ms = 0;
        for (wait, event) in &events {
            ms += wait;
            s.pass(ms);
            s.happen(ms, event);
        }
        let next = ms / SLOT + 5;
        for n in next..next + 8 {
            for who in &well {
                s.pass(n * SLOT);
                s.block(n * SLOT, NAMES[*who], FIRST + n);
            }
        }
        prop_assert_eq!(s.leads(), NAMES[*well.first().unwrap()]);
    }

    #[test]
    fn who_lost_the_lead_doesnt_take_it_back_before_failback_after(rules in rules(), events in events()) {
        let wait_for = rules.failback_after.as_millis() as u64;
        let mut s = Scene::of(rules);
        let mut lost: BTreeMap<Client, u64> = BTreeMap::new();
        let mut ms = 0;
        for (wait, event) in &events {
            ms += wait;
            let mut changes = s.pass(ms);
            // In two calls, so that no change is missed.
            if let Event::Block(who, lag) = *event {
                let slot = s.now(ms).slot - lag;
                changes.extend(s.payload(ms, NAMES[who], slot).map(|change| (ms, change)));
                changes.extend(s.head(ms, NAMES[who], block(slot)).map(|change| (ms, change)));
            } else {
                changes.extend(s.happen(ms, event).map(|change| (ms, change)));
            }
            for (at, Change { from, to, why }) in changes {
                if let Some(lost) = lost.get(&to).filter(|_| !why.is_fault()) {
                    prop_assert!(at - lost >= wait_for, "{} took the lead back after {} ms", to, at - lost);
                }
                if let Some(from) = from.filter(|_| why.is_fault()) {
                    lost.insert(from, at);
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_strangers_push_out_nobody_that_lives(
        calls in vec((0..2_000_u64, 0..60_u8, any::<bool>()), 1..300), max_strangers in 0..6_usize,
    ) {
        let order = vec![cl("n0"), cl("n1")];
        let mut s = Scene::of(Rules { max_strangers, order, ..Rules::new(Duration::from_millis(SLOT)) });
        let mut ms = 0;
        for (wait, who, lies) in calls {
            ms += wait;
            s.pass(ms);
            let lives = |seen: &Seen<'_>| !matches!(seen.state, State::Silent | State::Gone | State::Suspect(_));
            let before: Vec<Client> =
                s.leader.view().filter(|v| lives(v) || v.leads).map(|v| v.client.clone()).collect();
            let slot = if lies { u64::MAX } else { s.now(ms).slot };
            s.heard(ms, &format!("n{who}"), Heard::Payload { hash: block(slot), parent: block(1), slot });
            let known: Vec<&Client> = s.leader.view().map(|v| v.client).collect();
            prop_assert!(known.len() <= max_strangers.max(1) + 2);
            prop_assert!(before.iter().all(|client| known.contains(&client)), "{:?} {:?}", before, known);
        }
    }

    #[test]
    fn with_agreement_the_leader_is_never_two_steps_from_the_head_of_most(
        events in events(),
    ) {
        let mut s = Scene::of(Rules { agreement: true, ..Rules::new(Duration::from_millis(SLOT)) });
        let mut ms = 0;
        for (wait, event) in &events {
            ms += wait;
            s.pass(ms);
            s.happen(ms, event);
            let seen: Vec<Seen<'_>> = s.leader.view().collect();
            let counts = |v: &&Seen<'_>| !matches!(v.state, State::Suspect(_) | State::Gone | State::Silent);
            let heads: Vec<Hash> = seen.iter().filter(counts).filter_map(|v| v.head).collect();
            let most = heads.iter().find(|h| heads.len() >= 3 && heads.iter().filter(|o| o == h).count() * 2 > heads.len());
            let leading = seen.iter().find(|v| v.leads);
            if let (Some(most), Some(leading)) = (most, leading) {
                let number = |hash: Hash| u64::from_be_bytes(hash.0[..8].try_into().unwrap());
                let own = leading.head.map(number);
                prop_assert!(own.is_some_and(|own| own.abs_diff(number(*most)) <= 1), "{:?} {:?}", leading, most);
            }
        }
    }
}
