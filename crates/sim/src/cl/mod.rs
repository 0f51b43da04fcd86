//! A simulated consensus client: it proposes in every slot, through one Engine API endpoint.
//!
//! Shortly before a slot it asks for a payload (forkchoiceUpdated with attributes); at the slot it
//! fetches it (getPayload), hands it in (newPayload) and makes it the head (forkchoiceUpdated).
//! Like a real client it never builds on what it was not told to be VALID: then the slot is
//! missed, its head stays, and the next slot tries again.

mod beacon;
mod reply;

use std::{collections::VecDeque, fmt, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use mainstay_wire::{
    client::{self, BadEndpoint, Client},
    jwt::{self, Claims, Secret},
};
use tokio::{sync::broadcast, time::Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use self::beacon::Head;
use self::beacon::{Beacon, SlotClock};
use crate::{
    chain::{Attributes, Block, Hash},
    clock,
    request::{self, Beside},
};

/// The versions of the methods that it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// `engine_forkchoiceUpdatedV…`
    pub forkchoice_updated: u8,
    /// `engine_getPayloadV…`
    pub get_payload: u8,
    /// `engine_newPayloadV…`
    pub new_payload: u8,
}

impl Versions {
    /// Cancun.
    pub const CANCUN: Versions = Versions { forkchoice_updated: 3, get_payload: 3, new_payload: 3 };
    /// Prague.
    pub const PRAGUE: Versions = Versions { forkchoice_updated: 3, get_payload: 4, new_payload: 4 };
    /// Osaka.
    pub const OSAKA: Versions = Versions { forkchoice_updated: 3, get_payload: 5, new_payload: 4 };
}

/// What a simulated consensus client is.
#[derive(Clone, Debug)]
pub struct ClConfig {
    /// The Engine API endpoint that it drives.
    pub url: Url,
    /// Signs its tokens; without it there are none.
    pub secret: Option<Secret>,
    /// Where it starts; slot 0 has this block's timestamp.
    pub head: Block,
    /// The length of a slot.
    pub slot: Duration,
    /// How long before a slot it asks for the payload.
    pub lead: Duration,
    /// The fork that it is on.
    pub versions: Versions,
    /// How long it waits for newPayload and forkchoiceUpdated (8 s in the specification).
    pub state_timeout: Duration,
    /// How long it waits for getPayload (1 s in the specification).
    pub get_timeout: Duration,
    /// A block is safe after so many blocks, and final after twice as many.
    pub epoch: u32,
    /// The claim `id` of its tokens.
    pub id: Option<String>,
    /// The claim `clv` of its tokens.
    pub clv: Option<String>,
}

impl ClConfig {
    /// A client on Osaka with slots of 2 s, which starts at `head`.
    pub fn new(url: Url, secret: impl Into<Option<Secret>>, head: Block) -> ClConfig {
        let slot = Duration::from_secs(2);
        ClConfig {
            url,
            secret: secret.into(),
            head,
            slot,
            lead: slot / 3,
            versions: Versions::OSAKA,
            state_timeout: Duration::from_secs(8),
            get_timeout: Duration::from_secs(1),
            epoch: 8,
            id: None,
            clv: None,
        }
    }

    /// With slots of another length, and a third of that as lead.
    pub fn slot(mut self, slot: Duration) -> ClConfig {
        (self.slot, self.lead) = (slot, slot / 3);
        self
    }
}

/// What became of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// Its number, from 1.
    pub slot: u64,
    /// The block that was got for it, also where it was not taken over.
    pub block: Option<Head>,
    /// Whether its block was VALID and became the head.
    pub built: bool,
    /// What newPayload said.
    pub payload_status: Option<String>,
    /// What the last forkchoiceUpdated of the slot said.
    pub fcu_status: Option<String>,
    /// Why it was missed: the call and what it gave (`getPayload: timeout`).
    pub missed: Option<String>,
    /// From the slot's start to its end; without a payload, the time of the call that failed.
    pub took: Duration,
}

impl SlotReport {
    fn new(slot: u64) -> SlotReport {
        SlotReport {
            slot,
            block: None,
            built: false,
            payload_status: None,
            fcu_status: None,
            missed: None,
            took: Duration::ZERO,
        }
    }
}

impl fmt::Display for SlotReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}: ", self.slot)?;
        match (&self.missed, self.block) {
            (Some(why), _) => write!(f, "missed, {why}"),
            (None, Some(block)) => write!(f, "block {} {}", block.number, block.hash.short()),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// A simulated consensus client. Slots run from the moment it is made, or from
/// [`Cl::starting_at`].
pub struct Cl {
    config: ClConfig,
    client: Client,
    clock: SlotClock,
    start: Instant,
    beacon: Beacon,
    last_slot: u64,
    last_id: u64,
    /// Slots that went by while an earlier one was still busy.
    overrun: VecDeque<SlotReport>,
}

impl Cl {
    /// A client whose slot 0 is now.
    ///
    /// # Errors
    /// Where the URL is none that can be called.
    pub fn new(config: ClConfig) -> Result<Cl, BadEndpoint> {
        Cl::starting_at(config, Instant::now())
    }

    /// A client whose slot 0 is (or was) at `start`.
    ///
    /// # Errors
    /// As [`Cl::new`].
    pub fn starting_at(config: ClConfig, start: Instant) -> Result<Cl, BadEndpoint> {
        let client = Client::new(&config.url, client::Options::default())?;
        let head = Head { number: config.head.number, hash: config.head.hash };
        Ok(Cl {
            client,
            clock: SlotClock {
                slot: config.slot,
                lead: config.lead.min(config.slot),
                genesis_time: config.head.timestamp,
            },
            start,
            beacon: Beacon::new(head, config.epoch),
            last_slot: 0,
            last_id: 0,
            overrun: VecDeque::new(),
            config,
        })
    }

    /// The newest block that it was told to be VALID.
    pub fn head(&self) -> Head {
        self.beacon.head()
    }

    /// Waits for the next slot, does its duty and says what became of it. Slots that have begun
    /// already are missed; each gets its own report.
    pub async fn next(&mut self) -> SlotReport {
        if let Some(missed) = self.overrun.pop_front() {
            return missed;
        }
        let first = self.last_slot + 1;
        let slot = self.clock.next(self.last_slot, self.start.elapsed());
        self.last_slot = slot;
        // A client that was stopped for long need not tell of every slot.
        for gone in first.max(slot.saturating_sub(64))..slot {
            let mut report = SlotReport::new(gone);
            report.missed = Some("an earlier slot was still busy".to_owned());
            self.overrun.push_back(report);
        }
        if let Some(missed) = self.overrun.pop_front() {
            // The slot itself is still to come, unless its time passes while reports are read.
            self.last_slot = slot - 1;
            return missed;
        }
        let mut report = SlotReport::new(slot);
        if let Err(why) = self.propose(slot, &mut report).await {
            report.missed = Some(why);
        }
        report
    }

    async fn propose(&mut self, slot: u64, report: &mut SlotReport) -> Result<(), String> {
        tokio::time::sleep_until(self.start + self.clock.prepares(slot)).await;
        let began = Instant::now();
        let attributes = Attributes::of_slot(slot, self.clock.timestamp(slot));
        let prepared = self.choose(Some(&attributes)).await;
        report.took = began.elapsed();
        let (status, payload_id) = prepared?;
        report.fcu_status = Some(status.clone());
        if status != "VALID" {
            return Err(format!("forkchoiceUpdated: {status}"));
        }
        let payload_id = payload_id.ok_or("forkchoiceUpdated: no payloadId")?;

        tokio::time::sleep_until(self.start + self.clock.starts(slot)).await;
        let began = Instant::now();
        let done = self.build(&payload_id, &attributes, report).await;
        report.took = began.elapsed();
        done
    }

    async fn build(
        &mut self,
        payload_id: &str,
        attributes: &Attributes,
        report: &mut SlotReport,
    ) -> Result<(), String> {
        let versions = self.config.versions;
        let body = request::get_payload(self.id(), versions.get_payload, payload_id);
        let result = self.call("getPayload", body, self.config.get_timeout).await?;
        let built = reply::built(&result, versions.get_payload);
        let built = built.ok_or("getPayload: the answer is not a payload")?;
        report.block = Some(built.block);

        let body = self.new_payload(&built, attributes.parent_beacon_root);
        let result = self.call("newPayload", body, self.config.state_timeout).await?;
        let status = reply::status(&result).map_err(|why| format!("newPayload: {why}"))?;
        report.payload_status = Some(status.clone());
        if status != "VALID" {
            return Err(format!("newPayload: {status}"));
        }
        self.beacon.adopt(built.block);
        report.built = true;

        // The block stands whatever comes of this; the next slot sends its head again.
        report.fcu_status = Some(match self.choose(None).await {
            Ok((status, _)) => status,
            Err(why) => why,
        });
        Ok(())
    }

    fn new_payload(&mut self, built: &reply::Built, parent_beacon_root: Hash) -> Bytes {
        let version = self.config.versions.new_payload;
        let beside = Beside {
            versioned_hashes: &built.versioned_hashes,
            parent_beacon_root,
            requests: &String::from_utf8_lossy(&built.requests),
        };
        let payload = String::from_utf8_lossy(&built.payload);
        let params = request::new_payload_params(version, &payload, &beside);
        request::call(self.id(), &format!("engine_newPayloadV{version}"), &params)
    }

    async fn choose(&mut self, attributes: Option<&Attributes>) -> Result<(String, Option<String>), String> {
        let version = self.config.versions.forkchoice_updated;
        let body = request::forkchoice_updated(self.id(), version, self.beacon.forkchoice(), attributes);
        let result = self.call("forkchoiceUpdated", body, self.config.state_timeout).await?;
        reply::chosen(&result).map_err(|why| format!("forkchoiceUpdated: {why}"))
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Calls and gives the result, or the call's name and what went wrong.
    async fn call(&self, name: &str, body: Bytes, timeout: Duration) -> Result<Bytes, String> {
        let token = self.config.secret.as_ref().map(|secret| {
            let claims = Claims {
                id: self.config.id.clone(),
                clv: self.config.clv.clone(),
                ..Claims::at(clock::wall())
            };
            jwt::sign(secret, &claims)
        });
        let deadline = Instant::now() + timeout;
        let said = match self.client.post(body, token.as_deref(), deadline).await {
            Ok(reply) if reply.status == StatusCode::OK => reply::result(&reply.body),
            Ok(reply) => Err(format!("HTTP {}", reply.status.as_u16())),
            Err(error) if error.fault == client::Fault::Timeout => Err("timeout".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        said.map_err(|why| format!("{name}: {why}"))
    }

    /// Runs on its own until it is stopped. Reports are kept for slow readers, up to 256.
    pub fn start(mut self) -> (ClHandle, broadcast::Receiver<SlotReport>) {
        let (reports, receiver) = broadcast::channel(256);
        let stop = CancellationToken::new();
        let handle = ClHandle { reports: reports.clone(), stop: stop.clone() };
        tokio::spawn(async move {
            loop {
                let report = tokio::select! {
                    () = stop.cancelled() => return,
                    report = self.next() => report,
                };
                // Nobody may be listening; the chain grows all the same.
                let _ = reports.send(report);
            }
        });
        (handle, receiver)
    }
}

/// A simulated consensus client that runs. It runs until [`ClHandle::stop`], also when no handle
/// is left.
#[derive(Clone, Debug)]
pub struct ClHandle {
    reports: broadcast::Sender<SlotReport>,
    stop: CancellationToken,
}

impl ClHandle {
    /// The reports from now on.
    pub fn reports(&self) -> broadcast::Receiver<SlotReport> {
        self.reports.subscribe()
    }

    /// Ends it, in the middle of a call where one is under way.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
