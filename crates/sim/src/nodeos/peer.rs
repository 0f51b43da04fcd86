//! One connection of a simulated node: what it says to what.

use std::sync::Arc;

use mainstay_antelope::{
    Frame, Handshake, Id, IdList, List, Message, Mode, Nanos, Notice, Request, Signature, Splitter, Text,
    Time, Version,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::{mpsc, watch};

use super::chain::{NO_KEY, whole};
use super::{Chain, NodeosConfig, QUEUE, Shared};

/// What a node knows of a peer.
#[derive(Debug, Default)]
pub(super) struct Known {
    greeted: bool,
    lib: u32,
    /// It has sent a `go_away`.
    pub(super) is_gone: bool,
}

/// A connection's place in the node's list, given back when it is dropped.
struct Listed {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.state().peers.remove(&self.number);
        self.shared.tell();
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(shared: Arc<Shared>, stream: S, dialed: bool) {
    let (mut reader, mut writer) = split(stream);
    let (send, mut queue) = mpsc::channel::<Frame>(QUEUE);
    let number = {
        let mut state = shared.state();
        state.connections += 1;
        let number = state.connections;
        state.peers.insert(number, send.clone());
        number
    };
    shared.tell();
    let _listed = Listed { shared: shared.clone(), number };
    if dialed {
        let _ = send.try_send(ping());
        let _ = send.try_send(shared.greeting(1));
    }
    let frozen = shared.frozen.subscribe();
    let writing = {
        let mut frozen = frozen.clone();
        async move {
            while let Some(frame) = queue.recv().await {
                thawed(&mut frozen).await;
                if writer.write_all(frame.bytes()).await.is_err() {
                    return;
                }
            }
        }
    };
    let reading = {
        let (shared, mut frozen) = (shared.clone(), frozen);
        let mut known = Known { greeted: dialed, ..Known::default() };
        async move {
            let mut splitter = Splitter::default();
            loop {
                thawed(&mut frozen).await;
                match splitter.split() {
                    Ok(Some(frame)) => {
                        for answer in shared.take(number, &frame, &mut known) {
                            let _ = send.send(answer).await;
                        }
                        if known.is_gone {
                            return;
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(_) => return,
                }
                if !matches!(reader.read_buf(splitter.room()).await, Ok(read) if read > 0) {
                    return;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => {}
        () = reading => {}
        () = writing => {}
    }
}

async fn thawed(frozen: &mut watch::Receiver<bool>) {
    // The sender is there as long as the node.
    let _ = frozen.wait_for(|frozen| !*frozen).await;
}

impl Known {
    /// What a node says to a message that is no block and no farewell.
    pub(super) fn answer(
        &mut self,
        message: &Message<'_>,
        config: &NodeosConfig,
        node_id: Id,
        chain: &Chain,
    ) -> Vec<Frame> {
        let greet = |generation| greeting(config, node_id, chain, generation);
        match message {
            Message::Handshake(theirs) => {
                let mut answers = Vec::new();
                self.lib = theirs.lib_num;
                // One that comes first and isn't numbered so has no answer.
                if !std::mem::replace(&mut self.greeted, true) && theirs.generation == 1 {
                    answers.push(greet(1));
                }
                answers.extend(in_step(theirs, chain));
                answers
            }
            Message::Time(ping) if ping.org.0 == 0 => {
                let pong = Time { org: ping.xmt, rec: Nanos(2), xmt: Nanos(3), dst: Nanos(0) };
                vec![whole(&Message::Time(pong))]
            }
            Message::Notice(notice) if notice.known_blocks.mode == Mode::CATCH_UP => {
                match notice.known_blocks.ids.iter().next() {
                    Some(head) if !chain.has(&head) => vec![catch_up(&[chain.head()])],
                    _ => vec![greet(2)],
                }
            }
            Message::Request(request) if request.req_blocks.mode == Mode::CATCH_UP => {
                let from = match request.req_blocks.ids.iter().next() {
                    Some(id) if chain.is_ancestor(&id) => id.block_num(),
                    _ => self.lib,
                };
                chain.branch(from, u32::MAX)
            }
            Message::SyncRequest(range) => chain.branch(range.start.saturating_sub(1), range.end),
            _ => Vec::new(),
        }
    }
}

/// What a node whose peer has this head says, so that both come to have one.
fn in_step(theirs: &Handshake<'_>, chain: &Chain) -> Vec<Frame> {
    let head = chain.head();
    if theirs.head_id == head {
        return Vec::new();
    }
    if theirs.head_num > head.block_num() {
        return vec![catch_up(&[head])];
    }
    let list = |mode, ids| IdList { mode, pending: head.block_num(), ids: List::Items(ids) };
    let mine = [head];
    let notice = Notice { known_trx: list(Mode::NONE, &[]), known_blocks: list(Mode::CATCH_UP, &mine) };
    let mut answers = vec![whole(&Message::Notice(notice))];
    if !chain.is_ancestor(&theirs.head_id) {
        answers.push(catch_up(&[]));
    }
    answers
}

/// "Are you there?"
pub(super) fn ping() -> Frame {
    whole(&Message::Time(Time { org: Nanos(0), rec: Nanos(0), xmt: Nanos(1), dst: Nanos(0) }))
}

fn catch_up(ids: &[Id]) -> Frame {
    let list = |mode, ids| IdList { mode, pending: 0, ids: List::Items(ids) };
    let request = Request { req_trx: list(Mode::NONE, &[]), req_blocks: list(Mode::CATCH_UP, ids) };
    whole(&Message::Request(request))
}

/// What a node says of itself.
pub(super) fn greeting(config: &NodeosConfig, node_id: Id, chain: &Chain, generation: i16) -> Frame {
    let address =
        format!("{}:9876 - {:02x}{:02x}{:02x}0", config.agent, node_id.0[0], node_id.0[1], node_id.0[2]);
    let (lib_id, head_id) = (chain.lib_id(), chain.head());
    whole(&Message::Handshake(Handshake {
        network_version: Version::BASE_NUMBER + config.version,
        chain_id: config.chain_id,
        node_id,
        key: NO_KEY,
        time: Nanos(1),
        token: Id::ZERO,
        sig: Signature::EMPTY,
        p2p_address: Text(address.as_bytes()),
        lib_num: lib_id.block_num(),
        lib_id,
        head_num: head_id.block_num(),
        head_id,
        os: Text(b"linux"),
        agent: Text(config.agent.as_bytes()),
        generation,
    }))
}
