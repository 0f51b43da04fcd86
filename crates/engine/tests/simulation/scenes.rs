//! Scripted scenes: what the random weather found, or meets too seldom, once and by name.

use std::sync::Arc;
use std::time::Duration;

use mainstay_execution::ballot::Part;
use mainstay_execution::config::StragglerWait;
use mainstay_execution::standing::Hold;
use mainstay_execution::status::Status;
use mainstay_node::Condition;

use crate::chain::Id;
use crate::cl::For;
use crate::el::{Ask, Failure, Faults};
use crate::rng::Rng;
use crate::setup::Setup;
use crate::speech::Told;
use crate::world::{Guard, Sim};

/// A world in which nothing happens by itself.
struct Scene {
    sim: Arc<Sim>,
}

impl Scene {
    /// Plays a script with `setup`; the invariants are watched as in the weather.
    fn play(setup: Setup, script: impl AsyncFnOnce(&Scene)) {
        let runtime = crate::runner::runtime();
        let sim = runtime.block_on(async {
            let scene = Scene { sim: Sim::start(setup, Rng::new(1), true) };
            let play = async {
                // Every node is probed.
                scene.pass(100).await;
                script(&scene).await;
                scene.pass(20_000).await;
            };
            tokio::select! {
                biased;
                violation = scene.sim.run_until(u64::MAX) => panic!("{violation:?}\n{}", scene.story()),
                () = play => {}
            }
            let violation = scene.world().oracle.violation.take();
            assert_eq!(violation, None, "\n{}", scene.story());
            scene.sim
        });
        drop(runtime);
        sim.end();
    }

    fn world(&self) -> Guard<'_> {
        self.sim.lock()
    }

    fn story(&self) -> String {
        self.world().traced.clone().unwrap_or_default().join("\n")
    }

    async fn pass(&self, ms: u64) {
        let until = tokio::time::Instant::now() + Duration::from_millis(ms);
        while tokio::time::Instant::now() < until {
            let step = tokio::time::Instant::now() + Duration::from_millis(500);
            tokio::time::sleep_until(step.min(until)).await;
            self.world().judge_shown_rounds();
        }
    }

    /// A new block on `parent`.
    fn block(&self, parent: Id) -> Id {
        self.world().chain.add(parent, true, 100)
    }

    fn faults(&self, el: usize, faults: Faults) {
        self.world().els[el].faults = faults;
    }

    async fn ask(&self, ask: Ask) -> Told {
        self.sim.ask(ask, false, For::Nobody).await.expect("the CL waits")
    }

    async fn status(&self, ask: Ask) -> Option<Status> {
        self.ask(ask).await.status()
    }

    /// A block that everybody gets, as the head.
    async fn advance(&self, parent: Id) -> Id {
        let block = self.block(parent);
        assert_eq!(self.status(Ask::Payload(block)).await, Some(Status::Valid), "\n{}", self.story());
        assert_eq!(self.status(Ask::Head(block, None)).await, Some(Status::Valid), "\n{}", self.story());
        self.world().judge_shown_rounds();
        block
    }

    fn head(&self, el: usize) -> Id {
        self.world().els[el].head
    }

    fn part(&self, el: usize) -> Part {
        self.world().node(el).part()
    }
}

/// Found by the weather: heads that newer ones replaced on every node were answered with HTTP 503, and the CL would have taken
/// its execution client for offline.
#[test]
fn a_head_replaced_on_every_node_is_no_sign_that_they_are_down() {
    Scene::play(Setup { error_on_shortfall: true, ..Setup::plain(3) }, async |scene| {
        let first = scene.advance(0).await;
        let second = scene.advance(first).await;
        let (older, newer) =
            tokio::join!(scene.status(Ask::Head(first, None)), scene.status(Ask::Head(second, None)));
        assert_eq!((older, newer), (Some(Status::Syncing), Some(Status::Valid)));
        for el in 0..3 {
            scene.faults(el, Faults { down: true, ..Faults::default() });
        }
        assert_eq!(scene.ask(Ask::Head(second, None)).await, Told::Nothing, "and that they are is told");
    });
}

/// Found by the weather: a CL that goes to and fro between two heads made two dissents many.
#[test]
fn dissent_on_two_blocks_that_come_again_and_again_is_dissent_on_two_blocks() {
    Scene::play(Setup { quarantine_after: Some(3), ..Setup::plain(3) }, async |scene| {
        scene.faults(2, Faults { lies_invalid: true, ..Faults::default() });
        let blocks = [scene.block(0), scene.block(0)];
        for block in blocks {
            scene.ask(Ask::Payload(block)).await;
        }
        for _ in 0..5 {
            for block in blocks {
                scene.ask(Ask::Head(block, None)).await;
                scene.pass(100).await;
            }
        }
        assert_eq!(scene.part(2), Part::Voter);
        let third = scene.block(0);
        scene.ask(Ask::Payload(third)).await;
        scene.pass(100).await;
        assert_eq!(scene.part(2), Part::Never);
    });
}

/// Found by the weather: only nodes that had been down were led to the head when they came back.
#[test]
fn a_node_that_was_on_another_chain_is_led_to_the_head_when_it_is_back() {
    Scene::play(Setup::plain(3), async |scene| {
        let mut head = scene.advance(0).await;
        // Not restarted, so never down: its owner's proxy pointed to another node.
        scene.world().els[2].wrong_chain = true;
        scene.world().node(2).state().health.probe_soon(tokio::time::Instant::now().into_std());
        for node in [0, 2] {
            // Any sign of trouble makes a probe ask for the chain.
            scene.faults(node, Faults { says_syncing: true, ..Faults::default() });
        }
        scene.pass(5_000).await;
        scene.faults(0, Faults::default());
        scene.faults(2, Faults::default());
        scene.pass(5_000).await;
        assert!(matches!(scene.world().node(2).condition(), Condition::Misconfigured { .. }));
        // Too little to be lagging.
        for _ in 0..2 {
            head = scene.advance(head).await;
        }
        scene.world().els[2].wrong_chain = false;
        scene.pass(5_000).await;
        assert_eq!(scene.head(2), head, "without another call of the CL");
        assert_eq!(scene.part(2), Part::Voter);
    });
}

/// What a slow node's full queue refuses is replayed.
#[test]
fn a_full_queue_loses_nothing_for_good() {
    Scene::play(Setup { replay_blocks: 400, ..Setup::plain(3) }, async |scene| {
        let mut head = scene.advance(0).await;
        scene.faults(2, Faults { slow: 6_000, ..Faults::default() });
        for _ in 0..300 {
            head = scene.advance(head).await;
        }
        let waiting = scene.world().node(2).feed.waiting();
        assert!((250..=256).contains(&waiting), "{waiting} calls wait");
        scene.faults(2, Faults::default());
        scene.pass(60_000).await;
        scene.advance(head).await;
        scene.pass(10_000).await;
        assert_eq!((scene.head(2), scene.part(2)), (scene.head(0), Part::Voter));
    });
}

/// A node in time is waited for, and one that keeps straggling isn't.
#[test]
fn who_is_in_time_is_waited_for_until_it_has_straggled_three_times() {
    let wait = Duration::from_millis(100);
    Scene::play(Setup { straggler_wait: StragglerWait::Fixed(wait), ..Setup::plain(3) }, async |scene| {
        let mut head = 0;
        for _ in 0..10 {
            head = scene.advance(head).await;
        }
        scene.faults(2, Faults { slow: 400, ..Faults::default() });
        let mut waits = Vec::new();
        for _ in 0..6 {
            let block = scene.block(head);
            let began = tokio::time::Instant::now();
            assert_eq!(scene.status(Ask::Payload(block)).await, Some(Status::Valid));
            waits.push(began.elapsed());
            scene.pass(1_000).await;
            scene.ask(Ask::Head(block, None)).await;
            scene.pass(1_000).await;
            head = block;
        }
        let waited: Vec<bool> = waits.iter().map(|took| *took >= wait).collect();
        assert_eq!(waited, [true, true, false, false, false, false], "{waits:?}");
    });
}

/// One that never answers is soon not waited for either, long before it is unfit.
#[test]
fn who_is_silent_straggles_too() {
    let wait = Duration::from_millis(100);
    let mut setup = Setup { straggler_wait: StragglerWait::Fixed(wait), ..Setup::plain(3) };
    setup.natures[2].timeout = Some(Duration::from_millis(200));
    setup.health.fall = 100;
    Scene::play(setup, async |scene| {
        let mut head = scene.advance(0).await;
        scene.faults(2, Faults { hangs: true, ..Faults::default() });
        let mut waits = Vec::new();
        for _ in 0..6 {
            let began = tokio::time::Instant::now();
            let block = scene.block(head);
            assert_eq!(scene.status(Ask::Payload(block)).await, Some(Status::Valid));
            waits.push(began.elapsed() >= wait);
            scene.pass(1_000).await;
            head = block;
        }
        assert_eq!(waits, [true, true, true, false, false, false]);
    });
}

/// Found by the weather: nobody asked a fit node for its chain again, and a restart can be missed.
#[test]
fn a_fit_node_that_comes_up_on_another_chain_unseen_is_found_out() {
    Scene::play(Setup::plain(3), async |scene| {
        let head = scene.advance(0).await;
        scene.world().els[2].wrong_chain = true;
        scene.pass(65_000).await;
        assert!(matches!(scene.world().node(2).condition(), Condition::Misconfigured { .. }));
        scene.world().els[2].wrong_chain = false;
        scene.pass(5_000).await;
        assert_eq!((scene.part(2), scene.head(2)), (Part::Voter, head));
    });
}

/// What a node says while it is led to the head is its word as well.
#[test]
fn an_invalid_in_a_replay_is_held_against_the_block() {
    let mut setup = Setup::plain(3);
    setup.natures[2].remembers_invalid = false;
    Scene::play(setup, async |scene| {
        let head = scene.advance(0).await;
        scene.world().hold(2, Hold::Drained);
        let block = scene.block(head);
        scene.world().chain.get_mut(block).wronged_by = 1 << 2;
        assert_eq!(scene.status(Ask::Payload(block)).await, Some(Status::Valid));
        assert_eq!(scene.status(Ask::Head(block, None)).await, Some(Status::Valid));
        scene.world().hold(2, Hold::None);
        scene.pass(1_000).await;
        // Of the head it says SYNCING by now.
        assert_eq!(scene.status(Ask::Head(block, None)).await, Some(Status::Syncing));
    });
}

/// A replay that fails is tried again, also if the CL has nothing to say.
#[test]
fn a_replay_that_fails_is_tried_again() {
    Scene::play(Setup::plain(3), async |scene| {
        let head = scene.advance(0).await;
        scene.world().hold(2, Hold::Drained);
        let head = scene.advance(head).await;
        // Too short for anybody to call it down.
        scene.faults(2, Faults { instead: Some(Failure::Http(502)), ..Faults::default() });
        scene.world().hold(2, Hold::None);
        scene.pass(500).await;
        scene.faults(2, Faults::default());
        assert_ne!(scene.head(2), head);
        scene.pass(5_000).await;
        assert_eq!((scene.head(2), scene.part(2)), (head, Part::Voter));
    });
}

/// A drained node gets nothing until it is put back.
#[test]
fn the_operators_word_holds_while_calls_wait() {
    Scene::play(Setup::plain(3), async |scene| {
        let head = scene.advance(0).await;
        scene.faults(1, Faults { slow: 3_000, ..Faults::default() });
        let head = scene.advance(head).await;
        // Its calls wait behind the first.
        scene.world().hold(1, Hold::Drained);
        let head = scene.advance(head).await;
        scene.pass(10_000).await;
        assert_ne!(scene.head(1), head);
        scene.faults(1, Faults::default());
        scene.world().hold(1, Hold::None);
        assert_eq!(scene.part(1), Part::Maybe, "it follows first");
        scene.pass(5_000).await;
        assert_eq!((scene.head(1), scene.part(1)), (head, Part::Voter));
    });
}
