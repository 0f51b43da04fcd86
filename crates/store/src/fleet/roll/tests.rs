//! A fleet in a simulated world: members come, go, die, freeze and are cut off; the store is away, is emptied and goes back
//! to earlier versions. What is in flight must never overlap.

use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(100);
const ALIVE: usize = 6;
/// Ticks that a request takes at most.
const LONGEST_WORK: u64 = 20;

struct World {
    random: u64,
    start: Instant,
    tick: u64,
    /// All versions of the document, the last one is in the store.
    versions: Vec<Option<Roll>>,
    /// Counts changes, forgetting included: what compare and swap compares.
    changes: u64,
    members: Vec<Sim>,
    named: u64,
    away_until: u64,
    /// The store has forgotten something; it doesn't again before then.
    forgets_again: u64,
}

struct Sim {
    seat: Seat,
    limit: Portion,
    /// What is in flight lies within this.
    flight: Portion,
    drained_at: u64,
    beats_at: u64,
    cut_until: u64,
    wrote_at: u64,
    leaving: bool,
    /// A turn whose write is still to come, and what it was read from.
    turn: Option<(Turn, u64)>,
}

impl Sim {
    /// What a role does with a limit.
    fn apply(&mut self, portion: Portion, now: u64, work: u64) -> bool {
        if self.limit != portion {
            let grows = portion.overlap(self.limit) == self.limit;
            if grows {
                // Old work lies within the old limit, or where it was before.
                self.flight = if self.fits(self.limit) { portion } else { self.flight };
            } else if self.fits(self.limit) {
                self.drained_at = now + work;
            }
            self.limit = portion;
        }
        self.fits(portion)
    }

    fn fits(&self, portion: Portion) -> bool {
        self.flight.overlap(portion) == self.flight || self.flight.is_none()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: seed | 1,
            start: std_now(),
            tick: 0,
            versions: vec![None],
            changes: 0,
            members: Vec::new(),
            named: 0,
            away_until: 0,
            forgets_again: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn now(&self) -> Instant {
        self.start + TICK * u32::try_from(self.tick).unwrap()
    }

    fn join(&mut self) {
        self.named += 1;
        let beats_at = self.tick + self.below(5);
        self.members.push(Sim {
            seat: Seat::new(self.named.to_string()),
            limit: Portion::NONE,
            flight: Portion::NONE,
            drained_at: 0,
            beats_at,
            cut_until: 0,
            wrote_at: 0,
            leaving: false,
            turn: None,
        });
    }

    fn forget(&mut self) {
        // What is promised: a member that is cut off just then is not back within SETTLE.
        let cut = self.members.iter().any(|member| member.cut_until > self.tick);
        if cut || self.tick < self.forgets_again {
            return;
        }
        self.forgets_again = self.tick + 100;
        self.changes += 1;
        if self.below(2) == 0 {
            self.versions = vec![None];
        } else {
            let back = self.below(8) as usize;
            let keep = self.versions.len().saturating_sub(back).max(1);
            self.versions.truncate(keep);
        }
    }

    fn chance(&mut self) {
        match self.below(400) {
            0..=3 if self.members.len() < ALIVE => self.join(),
            4..=5 if !self.members.is_empty() => {
                let dead = self.below(self.members.len() as u64) as usize;
                self.members.remove(dead);
            }
            6..=7 if !self.members.is_empty() => {
                let leaver = self.below(self.members.len() as u64) as usize;
                self.members[leaver].leaving = true;
                self.members[leaver].seat.leave();
            }
            // Once the store is back it stays for SETTLE, for all to come back.
            8 if self.tick > self.away_until + 50
                && self.tick + 50 > self.forgets_again
                && self.members.iter().all(|member| member.cut_until <= self.tick) =>
            {
                self.away_until = self.tick + 2 + self.below(100);
                let until = self.away_until;
                for index in 0..self.members.len() {
                    // Back-off and connecting: up to two seconds later.
                    let late = self.below(20);
                    self.members[index].beats_at = until + late;
                    self.members[index].turn = None;
                }
                if self.below(2) == 0 {
                    self.forget();
                }
            }
            9 => self.forget(),
            10..=12 if !self.members.is_empty() => {
                let cut = self.below(self.members.len() as u64) as usize;
                let ticks = self.below(30);
                // Well under the TTL, all in all.
                let quiet = self.tick > self.away_until + 30 && self.tick + 50 > self.forgets_again;
                if quiet && self.tick <= self.members[cut].wrote_at + 10 {
                    self.members[cut].cut_until = self.tick + ticks;
                    self.members[cut].turn = None;
                }
            }
            _ => {}
        }
    }

    fn act(&mut self, index: usize) {
        let (now, tick) = (self.now(), self.tick);
        let (work, jitter, lag) = (1 + self.below(LONGEST_WORK), self.below(3), self.below(2));
        let member = &mut self.members[index];
        if !member.fits(member.limit) && tick >= member.drained_at {
            member.flight = member.limit;
        }
        if tick < self.away_until || tick < member.cut_until || tick < member.beats_at {
            return;
        }
        let Some((turn, change)) = member.turn.take() else {
            let roll = self.versions.last().cloned().flatten();
            let turn = member.seat.read(roll, now);
            member.apply(turn.shrunk, tick, work);
            member.turn = Some((turn, self.changes));
            member.beats_at = tick + lag;
            return;
        };
        if change != self.changes {
            // Another one was quicker.
            return;
        }
        let fits = member.apply(turn.shrunk, tick, work);
        let draft = member.seat.write(turn, fits);
        self.versions.push(Some(draft.roll.clone()));
        self.changes += 1;
        member.beats_at = tick + 4 + jitter;
        member.wrote_at = tick;
        if self.random.is_multiple_of(20) {
            // The answer was lost; the next turn finds out.
            return;
        }
        member.seat.written(&draft);
        if draft.left {
            member.cut_until = u64::MAX;
            return;
        }
        let used = member.seat.used();
        member.apply(used, tick, work);
    }

    fn step(&mut self) {
        self.tick += 1;
        for index in 0..self.members.len() {
            self.act(index);
        }
        self.members.retain(|member| member.cut_until != u64::MAX);
        for (index, member) in self.members.iter().enumerate() {
            assert!(member.limit == member.seat.used());
            for other in &self.members[index + 1..] {
                let both = member.flight.overlap(other.flight);
                assert!(
                    both.is_none(),
                    "at {} {} and {} both use {both:?}: {:?}",
                    self.tick,
                    member.seat.id,
                    other.seat.id,
                    self.versions.last()
                );
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "any beginning will do")]
fn std_now() -> Instant {
    Instant::now()
}

fn whole(world: &World) -> bool {
    let live = world.members.len();
    let mut used: Vec<Portion> = world.members.iter().map(|member| member.limit).collect();
    used.sort_by_key(|portion| portion.parts());
    used == (0..live).map(|index| Portion::of(live, index)).collect::<Vec<_>>()
}

fn lives(seed: u64, ticks: u64) {
    let mut world = World::new(seed);
    for _ in 0..=seed % 4 {
        world.join();
    }
    for _ in 0..ticks {
        world.chance();
        world.step();
    }
    // Left alone, all come to their parts.
    world.members.retain(|member| !member.leaving);
    for _ in 0..250 {
        world.step();
    }
    assert!(
        whole(&world),
        "{:?} {:?}",
        world.versions.last(),
        world.members.iter().map(|m| m.limit).collect::<Vec<_>>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_used_twice_whatever_happens(seed in any::<u64>()) {
        lives(seed, 1500);
    }
}

fn settle(world: &mut World, ticks: u64) {
    for _ in 0..ticks {
        world.step();
    }
}

#[test]
fn the_first_one_has_all_after_a_while_and_shares_with_the_second() {
    let mut world = World::new(1);
    world.join();
    settle(&mut world, 20);
    assert_eq!(world.members[0].limit, Portion::NONE);
    settle(&mut world, 20);
    assert_eq!(world.members[0].limit, Portion::ALL);
    world.join();
    settle(&mut world, 20);
    // It gives up its part long before the other one takes it.
    assert_eq!(world.members[0].limit, Portion::of(2, 0));
    assert_eq!(world.members[1].limit, Portion::NONE);
    settle(&mut world, 40);
    assert!(whole(&world));
}

#[test]
fn a_dead_ones_part_is_taken_over_after_a_while() {
    let mut world = World::new(1);
    world.join();
    world.join();
    settle(&mut world, 100);
    assert!(whole(&world));
    world.members.remove(0);
    settle(&mut world, 50);
    assert_eq!(world.members[0].limit, Portion::of(2, 1));
    settle(&mut world, 50);
    assert_eq!(world.members[0].limit, Portion::ALL);
}

#[test]
fn without_the_store_each_keeps_its_part() {
    let mut world = World::new(1);
    world.join();
    world.join();
    settle(&mut world, 100);
    world.away_until = world.tick + 3000;
    settle(&mut world, 3000);
    assert!(whole(&world));
    settle(&mut world, 100);
    assert!(whole(&world));
}
