//! What goes wrong with whom, and when it ends.

use std::sync::Arc;

use crate::cl::Like;
use crate::el::Mode;
use crate::world::Sim;

/// Most slots that a fault lasts.
const LONGEST: u64 = 15;
/// Blocks that an EL may have lost when it comes back.
const LOST: u64 = 25;

/// When each one's fault ends, in slots.
pub struct Weather {
    cls: Vec<u64>,
    els: Vec<u64>,
}

impl Weather {
    pub fn new(cls: usize, els: usize) -> Self {
        Self { cls: vec![0; cls], els: vec![0; els] }
    }

    pub fn of_slot(&mut self, sim: &Arc<Sim>, slot: u64) {
        for cl in 0..self.cls.len() {
            let like = sim.lock().cls[cl].like;
            if like != Like::Honest {
                if self.cls[cl] <= slot {
                    sim.set_cl(cl, Like::Honest);
                }
                continue;
            }
            let drawn = {
                let mut world = sim.lock();
                let rough = world.setup.roughness;
                let bad = world.cls.iter().filter(|cl| cl.like != Like::Honest).count();
                // More than half are honest, where that decides.
                let may = !world.setup.agreement || bad < 2;
                (may && world.rng.chance(rough)).then(|| {
                    let behind = world.rng.within(1, 12);
                    let mut likes = vec![
                        Like::Away,
                        Like::Away,
                        Like::Flapping,
                        Like::Behind(behind),
                        Like::Cut,
                        Like::Future,
                        Like::Forger,
                        Like::MadeUp,
                        Like::OldHeads,
                        Like::Bad,
                    ];
                    if world.setup.agreement {
                        likes.push(Like::Fork);
                    }
                    (world.rng.pick(&likes), slot + world.rng.within(1, LONGEST))
                })
            };
            if let Some((like, until)) = drawn {
                sim.set_cl(cl, like);
                self.cls[cl] = until;
            }
        }
        for el in 0..self.els.len() {
            let mode = sim.lock().els[el].mode;
            if mode != Mode::Well {
                if self.els[el] <= slot {
                    let lost = {
                        let mut world = sim.lock();
                        (mode == Mode::Down && world.rng.chance(500)).then(|| world.rng.within(0, LOST))
                    };
                    if let Some(lost) = lost {
                        sim.restart_el(el, usize::try_from(lost).unwrap());
                    }
                    sim.set_el(el, Mode::Well);
                }
                continue;
            }
            let drawn = {
                let mut world = sim.lock();
                let rough = world.setup.roughness;
                world.rng.chance(rough).then(|| {
                    let slow = world.rng.within(500, 5_000);
                    let mut modes = vec![Mode::Down, Mode::Down, Mode::Hung, Mode::Slow(slow), Mode::Erring];
                    modes.extend(world.setup.lie.map(Mode::Lying));
                    (world.rng.pick(&modes), slot + world.rng.within(1, LONGEST))
                })
            };
            if let Some((mode, until)) = drawn {
                sim.set_el(el, mode);
                self.els[el] = until;
            }
        }
    }
}
