//! newPayload: to the execution clients (EL) once per block, what they say of it to all who have it, and what is kept of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_execution::blocks::{Payload, Sender};
use mainstay_execution::method::Method;
use mainstay_execution::reply::Answer;
use mainstay_execution::round::{self, Keep, Told};
use mainstay_execution::status::{self, PayloadStatus, Status};
use mainstay_execution::unvoted;
use mainstay_execution::verdict::Vote;
use mainstay_wire::envelope::Call;
use tokio::time::Instant;

use super::{Core, Who, lock};
use crate::client::Client;
use crate::coming::Tell;
use crate::leader;
use crate::reading;
use crate::slots::believable;
use crate::verdicts::{Coming, Outcome, Step};

/// How long a CL that doesn't lead waits for the verdict on a payload that another has sent.
const OTHERS_WAIT: Duration = Duration::from_secs(2);

impl Core {
    pub(super) async fn payload(self: &Arc<Self>, call: &Call, method: Method, who: &Who) -> Answer {
        let params = call.params.clone().unwrap_or_default();
        let Some(payload) = reading::payload(&params) else {
            self.heard(who, leader::Heard::Call);
            return self.pass_on(call, method, who).await;
        };
        let reading::Payload { hash, parent, timestamp, .. } = payload;
        let slot = lock(&self.clock).slots().at(timestamp);
        let is_believable = believable(slot, self.now().slot);
        // Who names such a slot isn't even alive by that.
        let claim = leader::Heard::Payload { hash, parent, slot };
        self.heard(who, if is_believable { leader::Heard::Call } else { claim });
        let leads = lock(&self.leader).leads(&who.client);
        let keep = match (is_believable, leads) {
            (false, _) => Keep::Never,
            (true, true) => Keep::Checked,
            (true, false) => Keep::Valid(sender(&who.client)),
        };
        let limit = self.execution.config().answer_within.min(method.patience());
        let deadline = Instant::now() + if leads { limit } else { limit.min(OTHERS_WAIT) };
        loop {
            let step = lock(&self.verdicts).payload(hash, &who.client);
            let (coming, asked) = match step {
                Step::Known(verdict) => {
                    self.telemetry.answered(call, "known");
                    if verdict.status.vote() != Vote::Invalid || lock(&self.verdicts).is_taken(hash) {
                        self.credit_known(call, &payload, who).await;
                    }
                    // Whoever called it INVALID may take that back; and its sender may lead by now.
                    let leads = keep != Keep::Never && lock(&self.leader).leads(&who.client);
                    let is_valid = verdict.status == Status::Valid;
                    self.keep(call, &payload, if leads { Keep::Checked } else { keep }, is_valid).await;
                    return Answer::Result(verdict.object);
                }
                Step::Wait(coming) => {
                    if keep == Keep::Checked {
                        // It may be that no EL says anything of it.
                        self.keep(call, &payload, keep, false).await;
                    }
                    (coming, false)
                }
                Step::Ask(tell) => (self.ask(call, method, payload, who, keep, tell), true),
            };
            match tokio::time::timeout_at(deadline, coming.told()).await {
                // Somebody else's payload isn't what its hash says, or its token was no good: that says nothing of this one.
                Ok(Some(outcome)) if !asked && !outcome.of_block => {}
                Ok(outcome) => {
                    if let (false, Keep::Valid(by)) = (asked, keep) {
                        lock(&self.execution.blocks).sent_too(&hash.to_string(), by);
                    }
                    self.telemetry.answered(call, "asked");
                    return outcome.map_or(Answer::NoNode("mainstay is stopping"), |outcome| outcome.answer);
                }
                Err(_) => {
                    self.telemetry.answered(call, "late");
                    return match unvoted::status(&params).await {
                        Some(status) => Answer::Result(status::write(&status).into()),
                        None => Answer::NoNode("no execution client has given a verdict yet"),
                    };
                }
            }
        }
    }

    /// Puts a payload to the ELs. What comes of it is learned, and told to all who wait, though the CL goes away.
    fn ask(
        self: &Arc<Self>,
        call: &Call,
        method: Method,
        payload: reading::Payload,
        who: &Who,
        keep: Keep,
        tell: Tell<Outcome>,
    ) -> Coming {
        self.copy(call, who);
        if keep != Keep::Never {
            self.tell_newest(call, payload.timestamp, who);
        }
        let told = round::begin(&self.execution, call, method, &who.caller, keep);
        let coming = tell.coming();
        let (core, call, who) = (self.clone(), call.clone(), who.clone());
        tokio::spawn(async move {
            let Ok(told) = told.await else { return };
            let of_block = core.learn_payload(&call, &payload, &who, keep, &told).await;
            tell.tell(Outcome { answer: told.into(), of_block });
        });
        coming
    }

    /// Keeps a payload for ELs that miss it.
    async fn keep(&self, call: &Call, payload: &reading::Payload, keep: Keep, is_valid: bool) {
        let reading::Payload { hash, parent, number, .. } = *payload;
        let (hash, parent) = (hash.to_string(), parent.to_string());
        let (method, request) = (call.method.clone(), call.raw.clone());
        let kept = Payload { hash, parent, number, method, request };
        if keep == Keep::Never {
            return;
        }
        let is_known = lock(&self.execution.blocks).get(&kept.hash).is_some();
        // It needn't be the one that they were asked about.
        let is_true = is_known || self.is_true(call).await.unwrap_or(keep == Keep::Checked);
        let mut blocks = lock(&self.execution.blocks);
        match keep {
            Keep::Now | Keep::Checked if is_true => blocks.keep(kept),
            Keep::Valid(by) if is_true => blocks.keep_recent(kept, is_valid, by),
            _ => {}
        }
    }

    /// Whether a payload is what its hash says; `None` if that can't be told.
    async fn is_true(&self, call: &Call) -> Option<bool> {
        let status = unvoted::status(&call.params.clone().unwrap_or_default()).await?;
        Some(status == PayloadStatus::SYNCING)
    }

    /// The ELs have taken this block before: what they were asked about is what counts, whatever came now under its hash.
    async fn credit_known(self: &Arc<Self>, call: &Call, payload: &reading::Payload, who: &Who) {
        let known = lock(&self.verdicts).payload_of(payload.hash);
        if known.is_some() || self.is_true(call).await != Some(false) {
            self.credit(&known.unwrap_or(*payload), std::slice::from_ref(&who.client));
        }
    }

    /// The ELs have taken this block: whoever sent it has got so far.
    pub(super) fn credit(self: &Arc<Self>, payload: &reading::Payload, senders: &[Client]) {
        let slot = lock(&self.clock).slots().at(payload.timestamp);
        let heard = leader::Heard::Payload { hash: payload.hash, parent: payload.parent, slot };
        for client in senders {
            self.change(|leader, now| leader.heard(client, heard, now));
        }
    }

    /// Takes what the ELs say of a payload. Gives whether that is about the block: an INVALID may be about a payload that isn't what
    /// its hash says, an error about how it is written, and that nobody says anything about its sender's token.
    async fn learn_payload(
        self: &Arc<Self>,
        call: &Call,
        payload: &reading::Payload,
        who: &Who,
        keep: Keep,
        told: &Told,
    ) -> bool {
        let object = match told {
            Told::Result(result) => Some(Bytes::copy_from_slice(result)),
            Told::Error(_) | Told::Unvoted { .. } => None,
        };
        let status = object.as_ref().and_then(status::payload_status).map(|read| read.status);
        let is_valid = status == Some(Status::Valid);
        let is_true = if is_valid { Some(true) } else { self.is_true(call).await };
        let unauthorized = matches!(told, Told::Unvoted { unauthorized: true, .. });
        if is_true == Some(false) {
            // The block's own payload may come yet.
            lock(&self.execution.blocks).forget(&payload.hash.to_string(), &call.raw);
        } else if matches!(keep, Keep::Valid(_)) && !is_valid && !unauthorized {
            // Whoever doesn't take it now may do so later.
            self.keep(call, payload, keep, false).await;
        }
        if unauthorized {
            self.change(|leader, now| leader.unauthorized(&who.client, now));
        }
        let of_block = is_true == Some(true) && !unauthorized && !matches!(told, Told::Error(_));
        if of_block && let Some(object) = &object {
            lock(&self.verdicts).asked(payload);
            self.learn(payload.hash, object);
        }
        let senders = lock(&self.verdicts).answered(payload.hash);
        if is_valid {
            self.change(|leader, now| leader.taken(payload.hash, true, now));
            // A stranger may have made up the time.
            if keep != Keep::Never {
                lock(&self.clock).learn(payload.timestamp);
            }
        }
        if status.is_some_and(|status| status.vote() != Vote::Invalid) {
            // Where this may be other content under the block's hash the others haven't sent that.
            let senders = if of_block { &senders } else { std::slice::from_ref(&who.client) };
            self.credit(payload, senders);
        }
        of_block
    }
}

/// A CL as [`mainstay_execution::blocks`] knows it.
fn sender(client: &Client) -> Sender {
    let mut hasher = DefaultHasher::new();
    client.hash(&mut hasher);
    Sender(hasher.finish())
}
