//! Everything around the role: model execution clients (EL) behind transports of their own, model consensus clients (CL), what
//! goes wrong with them, and the judge.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mainstay_execution::config::Answering;
use mainstay_execution::core::Endpoint;
use mainstay_execution::node::Caller;
use mainstay_node::Operated;
use mainstay_settings::{Flags, Sources, resolve};
use mainstay_sync::client::Client;
use mainstay_sync::{Config, Metrics, SECTION, Sync, Who};
use mainstay_wire::client::{Delivered, Fault, Posted, Transport};
use mainstay_wire::envelope::{self, Message};
use prometheus_client::registry::Registry;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::chain::{Chain, Id};
use crate::cl::{self, Cl, Like};
use crate::count::Count;
use crate::el::{self, El, Mode};
use crate::rng::Rng;
use crate::{GENESIS, SLOT};

/// After so many slots of a CL that is well the role follows it whatever the others do. A fault begins with a slot. Who stands still
/// from then on is behind with the next block, and loses the lead when that has lasted for two slots, as who is silent does after
/// `leader_timeout`: that is in the third slot. One slot in fourteen has no block, and there may be two in a row, which the rules
/// can't tell from a leader that is well.
pub const CONVERGED: u64 = 5;
/// So many slots after an EL is well it has what it missed. A probe finds it within two seconds, and it is led to the head at once.
/// But the head that the role has may be one of the past, if the leader changes just then.
pub const RECOVERED: u64 = 5;
/// So many slots after the last in which a leader misled them ELs are back: the new leader's head goes to them with the change.
pub const BACK: u64 = 1;
/// Blocks that an EL may lack of those that mainstay keeps.
const MOST_BEHIND: u64 = 40;
/// A call is answered within this many milliseconds.
const ANSWERED: u64 = 2_000;

/// What differs from run to run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub els: usize,
    pub cls: usize,
    pub answer: Answering,
    pub agreement: bool,
    /// CLs by name, in order.
    pub named: bool,
    /// What lying ELs say.
    pub lie: Option<&'static str>,
    /// Faults per CL, and per EL, and slot, in thousandths.
    pub roughness: u64,
}

impl Setup {
    pub fn draw(rng: &mut Rng) -> Self {
        let agreement = rng.chance(250);
        Self {
            els: usize::try_from(rng.within(1, 4)).unwrap(),
            cls: if agreement { 5 } else { usize::try_from(rng.within(2, 5)).unwrap() },
            answer: rng.pick(&[Answering::First, Answering::First, Answering::Vote]),
            agreement,
            named: rng.chance(500),
            lie: rng.pick(&[None, None, Some("INVALID"), Some("SYNCING")]),
            roughness: rng.pick(&[10, 30, 80, 150]),
        }
    }

    /// `els` and `cls` without faults.
    pub fn plain(els: usize, cls: usize) -> Self {
        let answer = Answering::First;
        Self { els, cls, answer, agreement: false, named: false, lie: None, roughness: 0 }
    }

    fn config(&self) -> Config {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "11".repeat(32)).unwrap();
        let mut flags = Flags::default();
        let nodes = (0..self.els).map(|i| format!("http://el{i}:8551#name={i}"));
        flags.set("nodes", "--nodes", nodes.collect());
        for (key, value) in
            [("jwt_secret", secret.path().display().to_string()), ("genesis_time", GENESIS.to_string())]
        {
            flags.set(key, format!("--{key}"), vec![value]);
        }
        if self.named {
            let names = (0..self.cls).map(|i| format!("n{i}={i}"));
            flags.set("clients", "--clients", names.collect());
        }
        let mut problems = Vec::new();
        let settings = resolve(&SECTION, &Sources { flags: &flags, ..Sources::default() }, &mut problems);
        let config = Config::from_settings(&settings, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let mut config = config.unwrap();
        config.execution.answer = self.answer;
        config.leader.agreement = self.agreement;
        config
    }
}

pub struct World {
    pub rng: Rng,
    pub setup: Setup,
    pub chain: Chain,
    pub els: Vec<El>,
    pub cls: Vec<Cl>,
    /// The head that the network has.
    pub canon: Id,
    /// That of each slot's end.
    pub canon_at: Vec<Id>,
    pub count: Count,
    pub violation: Option<String>,
    pub traced: Option<Vec<String>>,
    leader: Option<String>,
    /// Slots whose block no honest CL told.
    untold: HashSet<u64>,
    /// The last slot in which one led that had become unfit for it.
    misled: Option<u64>,
    /// Since when all ELs are well, in milliseconds.
    calm_since: u64,
}

pub struct Sim {
    world: Mutex<World>,
    sync: Mutex<Option<Arc<Sync>>>,
    started: Instant,
}

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time of day of this thread's run.
fn wall() -> SystemTime {
    let passed = START.get().map_or(Duration::ZERO, |start| start.elapsed());
    UNIX_EPOCH + Duration::from_secs(GENESIS) + passed
}

impl Sim {
    pub fn start(setup: Setup, mut rng: Rng, traced: bool) -> Arc<Self> {
        let started = Instant::now();
        START.set(Some(started));
        let cls = (0..setup.cls).map(|_| Cl::new(rng.within(100, 2500))).collect();
        let config = setup.config();
        let world = World {
            els: (0..setup.els).map(|_| El::new()).collect(),
            cls,
            rng,
            setup,
            chain: Chain::new(),
            canon: 0,
            canon_at: vec![0],
            count: Count::default(),
            violation: None,
            traced: traced.then(Vec::new),
            leader: None,
            misled: None,
            untold: HashSet::new(),
            calm_since: 0,
        };
        let sim = Arc::new(Self { world: Mutex::new(world), sync: Mutex::new(None), started });
        let weak = Arc::downgrade(&sim);
        let connect = move |endpoint: Endpoint<'_>| {
            let spec = endpoint.spec();
            let place = spec.name.parse().map_err(|_| spec.name.clone())?;
            Ok(Arc::new(Wire { sim: weak.clone(), place }) as Arc<dyn Transport>)
        };
        let metrics = Metrics::new(&mut Registry::default());
        let sync = Sync::build_over(config, &metrics, Box::new(connect), wall).unwrap();
        *sim.sync.lock().unwrap() = Some(Arc::new(sync));
        sim
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap()
    }

    pub fn sync(&self) -> Arc<Sync> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap()
    }

    /// Who leads.
    pub fn leader(&self) -> Option<usize> {
        self.sync().handle().snapshot().leader?.trim_start_matches('n').parse().ok()
    }

    /// Breaks the circle of references.
    pub fn end(&self) {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub fn trace(&self, what: impl FnOnce() -> String) {
        let now = self.now();
        let mut world = self.lock();
        if let Some(lines) = &mut world.traced {
            lines.push(format!("{:>4}+{:>5} {}", now / SLOT, now % SLOT, what()));
        }
    }

    fn fails(&self, what: impl FnOnce() -> String) {
        let now = self.now();
        let mut world = self.lock();
        if world.violation.is_none() {
            world.violation = Some(format!("slot {}+{} ms: {}", now / SLOT, now % SLOT, what()));
        }
    }

    /// The slots up to `last`, with what `happens` at the beginning of each.
    ///
    /// # Errors
    /// The invariant that doesn't hold.
    pub async fn slots(self: &Arc<Self>, last: u64, happens: impl Fn(&Arc<Self>, u64)) -> Result<(), String> {
        for slot in self.now() / SLOT + 1..=last {
            sleep_until(self.started + Duration::from_millis(slot * SLOT)).await;
            happens(self, slot);
            let seeds: Vec<u64> = {
                let mut world = self.lock();
                world.propose(slot);
                (0..world.cls.len()).map(|_| world.rng.next()).collect()
            };
            for (cl, seed) in seeds.into_iter().enumerate() {
                tokio::spawn(cl::slot(self.clone(), cl, slot, Rng::new(seed)));
            }
            sleep_until(self.started + Duration::from_millis((slot + 1) * SLOT - 50)).await;
            self.judge(slot);
            if let Some(violation) = self.lock().violation.take() {
                return Err(violation);
            }
        }
        Ok(())
    }

    /// A CL's call.
    pub async fn ask(self: &Arc<Self>, cl: usize, body: Bytes) {
        let who = Who::new(Client::id(&cl.to_string()).unwrap(), Caller::default());
        self.lock().count.calls += 1;
        let started = self.now();
        let (status, told) = self.sync().answer(&body, who).await;
        let took = self.now() - started;
        self.trace(|| {
            let shown = |body: &Bytes| {
                let text = String::from_utf8_lossy(body).into_owned();
                let at =
                    text.find("blockHash").or(text.find("headBlockHash")).or(text.find("eth_")).unwrap_or(0);
                text[at..].chars().take(30).collect::<String>()
            };
            let said: String = String::from_utf8_lossy(&told).chars().skip(14).take(60).collect();
            format!("cl{cl} {} -> {status} {said} ({took} ms)", shown(&body))
        });
        if took > ANSWERED {
            self.fails(|| format!("cl{cl} waited {took} ms"));
        }
        if envelope::parse_reply(&told).is_err() {
            self.fails(|| format!("cl{cl} was told {told:?}"));
        }
    }

    fn judge(&self, slot: u64) {
        let now = self.now();
        let snapshot = self.sync().handle().snapshot();
        let mut world = self.lock();
        let canon = world.canon;
        world.canon_at.push(canon);
        world.count.slots += 1;
        if !world.cls.iter().any(|cl| cl.like == Like::Honest) {
            world.untold.insert(slot);
        }
        let well = |since: u64, slots: u64| since + slots * SLOT <= now;
        let fresh = world.cls.iter().any(|cl| cl.like == Like::Honest && well(cl.since, CONVERGED));
        let mut misled = world.misled;
        let mut violation = None;
        let mut fails = |what: String| {
            violation.get_or_insert(what);
        };
        let leading: Vec<_> = snapshot.clients.iter().filter(|client| client.leads).collect();
        if leading.len() > 1 || (leading.is_empty() && (fresh || world.leader.is_some())) {
            fails(format!("{} leaders", leading.len()));
        }
        if let Some(leader) = leading.first() {
            let name = leader.name.trim_start_matches('n').to_owned();
            let cl = &world.cls[name.parse::<usize>().unwrap()];
            let stale = !matches!(cl.like, Like::Honest | Like::Flapping);
            if stale && !well(cl.since, CONVERGED) {
                // It has its time; and the ELs have theirs to come back from where it led them.
                misled = Some(slot);
            } else if fresh
                && stale
                && world.els.iter().any(|el| el.mode == Mode::Well && well(el.since, CONVERGED))
            {
                fails(format!("cl{name} leads, which is {:?} since {} ms", cl.like, cl.since));
            }
            world.count.leaders_judged += 1;
            if world.leader.as_ref() != Some(&name) {
                world.count.changes += 1;
                world.leader = Some(name);
            }
        }
        if snapshot.clients.len() > world.cls.len() || snapshot.nodes.iter().any(|node| node.queued > 256) {
            fails("more is kept than may be".to_owned());
        }
        world.misled = misled;
        let followed = fresh && misled.is_none_or(|misled| misled + BACK <= slot);
        let last = world.canon_at.len() - 1;
        for el in 0..world.els.len() {
            let (mode, since, head) = (world.els[el].mode, world.els[el].since, world.els[el].head);
            if !followed || mode != Mode::Well || !well(since, RECOVERED) {
                continue;
            }
            world.count.heads_judged += 1;
            if !world.canon_at[last.saturating_sub(2)..].contains(&head) {
                let number = |block| world.chain.get(block).number;
                let (wrong, right) = (number(head), number(canon));
                let sync = self.sync();
                let blocks = sync.execution().blocks.lock().unwrap_or_else(PoisonError::into_inner);
                let line = world.chain.back_from(canon).take_while(|block| number(*block) > wrong);
                let missing: Vec<(Id, u64)> = line
                    .filter(|block| blocks.get(&world.chain.get(*block).hash).is_none())
                    .map(|block| (block, world.chain.get(block).slot))
                    .collect();
                drop(blocks);
                if missing.iter().any(|(_, slot)| world.untold.contains(slot)) {
                    // Its peers have it.
                    let World { els, chain, .. } = &mut *world;
                    els[el].head = canon;
                    els[el].restart(1, chain);
                    els[el].since = now;
                    continue;
                }
                fails(format!(
                    "el{el}, well since {since} ms, is at {head} (number {wrong}), not {canon} ({right}), \
                     not kept are (block, slot) {missing:?}"
                ));
            }
        }
        drop(world);
        if let Some(what) = violation {
            self.fails(|| format!("{what}; slot {slot}, {snapshot:#?}"));
        }
    }

    /// A payload came to an EL once more than it should.
    fn came_again(&self, el: usize, block: Id) {
        let now = self.now();
        let calm = {
            let world = self.lock();
            // One that was sent while nobody could say anything of it may be asked about again.
            let made = world.chain.get(block).slot.saturating_mul(SLOT).min(now);
            world.calm_since + 2 * SLOT <= made
        };
        if calm {
            self.fails(|| format!("el{el} got the payload of {block} twice"));
        }
    }

    pub fn set_el(&self, el: usize, mode: Mode) {
        let now = self.now();
        self.trace(|| format!("el{el} is {mode:?}"));
        let mut guard = self.lock();
        let world = &mut *guard;
        if mode == Mode::Well {
            // What is more than mainstay keeps it has of its peers.
            let (canon, chain) = (world.canon, &world.chain);
            let at = chain.get(canon).number.saturating_sub(MOST_BEHIND);
            if chain.get(world.els[el].head).number < at {
                let behind = usize::try_from(MOST_BEHIND).unwrap();
                world.els[el].head = canon;
                world.els[el].restart(behind, chain);
            }
        }
        world.els[el].mode = mode;
        world.els[el].since = now;
        let calm = world.els.iter().all(|el| el.mode == Mode::Well);
        world.calm_since = if calm { now } else { u64::MAX - 100 * SLOT };
        world.count.el_faults += u64::from(mode != Mode::Well);
    }

    pub fn restart_el(&self, el: usize, behind: usize) {
        self.trace(|| format!("el{el} is restarted, {behind} blocks behind"));
        let now = self.now();
        let mut guard = self.lock();
        let world = &mut *guard;
        world.els[el].restart(behind, &world.chain);
        world.els[el].since = now;
        world.calm_since = world.calm_since.max(now);
        world.count.restarts += 1;
    }

    pub fn set_cl(&self, cl: usize, like: Like) {
        let now = self.now();
        self.trace(|| format!("cl{cl} is {like:?}"));
        let mut world = self.lock();
        if world.cls[cl].like != like {
            world.cls[cl].like = like;
            world.cls[cl].since = now;
            world.count.cl_faults += u64::from(like != Like::Honest);
        }
    }
}

impl World {
    fn propose(&mut self, slot: u64) {
        if self.rng.chance(70) {
            return;
        }
        let mut parent = self.canon;
        if self.rng.chance(30) {
            parent = self.chain.get(parent).parent;
            self.count.reorgs += 1;
        }
        self.canon = self.chain.add(parent, slot, true);
    }
}

/// The way to one EL.
struct Wire {
    sim: Weak<Sim>,
    place: usize,
}

impl Transport for Wire {
    fn post<'a>(&'a self, body: Bytes, _: Option<&'a str>, deadline: Instant) -> Posted<'a> {
        Box::pin(async move {
            let Some(sim) = self.sim.upgrade() else { return std::future::pending().await };
            let Ok(Message::Single(Ok(call))) = envelope::parse_request(&body) else { panic!("{body:?}") };
            let (mode, took) = {
                let mut world = sim.lock();
                (world.els[self.place].mode, world.rng.within(1, 60))
            };
            let took = match mode {
                Mode::Down => {
                    sleep(Duration::from_millis(1)).await;
                    return Err(el::failure(Fault::Refused, Delivered::No));
                }
                Mode::Hung => {
                    sleep_until(deadline).await;
                    return Err(el::failure(Fault::Timeout, Delivered::Maybe));
                }
                Mode::Slow(by) => by,
                _ => took,
            };
            if timeout_at(deadline, sleep(Duration::from_millis(took))).await.is_err() {
                return Err(el::failure(Fault::Timeout, Delivered::Maybe));
            }
            let answer = {
                let mut guard = sim.lock();
                let world = &mut *guard;
                world.els[self.place].answer(&call, &world.chain)
            };
            if let Some(block) = answer.again {
                sim.came_again(self.place, block);
            }
            sim.trace(|| {
                let said: String = format!("{:?}", answer.result).chars().take(60).collect();
                let text = String::from_utf8_lossy(&body).into_owned();
                let at = text.find("blockHash").or(text.find("headBlockHash")).unwrap_or(0);
                let what: String = text[at..].chars().take(30).collect();
                format!("  el{} {} {what} -> {said}", self.place, call.method)
            });
            el::reply(&call, answer.result)
        })
    }
}
