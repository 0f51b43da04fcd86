//! `mainstay check --probe`: asks every node what its clients would find out the hard way. `mainstay doctor` asks more.

mod answer;
mod failure;
mod more;
mod table;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mainstay_wire::client::{Attestation, CallError, Client, HttpReply, Options, Tls};
use mainstay_wire::jwt::{Claims, Secret, sign};
use tokio::time::Instant;
use url::Url;

pub(crate) use self::answer::{Answers, ODD_SKEW, Verdict, WANTS_TOKEN, Wanted, printable, skew};
pub(crate) use self::failure::Failure;
pub(crate) use self::more::Fork;
#[cfg(test)]
pub(crate) use self::more::{Block, Forks};

/// For all that one node is asked.
const DEADLINE: Duration = Duration::from_secs(8);
/// More than any of these replies needs.
const MAX_REPLY: usize = 1 << 20;

/// A method and its parameters.
type Question = (&'static str, &'static str);

/// What is asked of an execution client, in this order. The first says whether the node is there and takes the secret.
const ENGINE: &[Question] = &[
    ("eth_chainId", "[]"),
    (
        "engine_exchangeCapabilities",
        r#"[["engine_newPayloadV3","engine_newPayloadV4","engine_forkchoiceUpdatedV3","engine_getPayloadV3","engine_getPayloadV4","engine_getPayloadV5","engine_getBlobsV1","engine_getBlobsV2","engine_getPayloadBodiesByHashV1","engine_getPayloadBodiesByRangeV1","engine_getClientVersionV1"]]"#,
    ),
    (
        "engine_getClientVersionV1",
        r#"[{"code":"MS","name":"mainstay","version":"probe","commit":"0x00000000"}]"#,
    ),
];

const ETHEREUM: &[Question] = &[("eth_chainId", "[]"), ("web3_clientVersion", "[]")];
/// What a doctor asks besides, of who has told its chain: forks, and the blocks that tell networks and clocks apart.
const MORE: &[Question] = &[
    ("web3_clientVersion", "[]"),
    ("eth_getBlockByNumber", r#"["0x0",false]"#),
    ("eth_getBlockByNumber", r#"["latest",false]"#),
    ("eth_config", "[]"),
];

const PASSAGE: &[Question] = &[("eth_chainId", "[]")];
const NET_VERSION: &[Question] = &[("net_version", "[]")];

/// What a node is asked.
#[derive(Clone)]
pub(crate) enum Asked {
    /// What a consensus client needs, with this secret.
    Engine(Secret),
    /// Whether it is there: it takes its callers' tokens, and there is none to ask with.
    Passage,
    /// Chain and version.
    Ethereum,
    /// `net_version`; any answer will do.
    NetVersion,
}

impl Asked {
    fn questions(&self, depth: Depth) -> impl Iterator<Item = &'static Question> {
        let (first, more) = match self {
            Self::Engine(_) => (ENGINE, MORE),
            Self::Passage => (PASSAGE, &[][..]),
            Self::Ethereum => (ETHEREUM, MORE),
            Self::NetVersion => (NET_VERSION, &[][..]),
        };
        first.iter().chain(if depth == Depth::All { more } else { &[] })
    }

    fn wanted(&self) -> Wanted {
        match self {
            Self::Engine(_) => Wanted::EngineApi,
            Self::Passage => Wanted::Refusal,
            Self::Ethereum => Wanted::Chain,
            Self::NetVersion => Wanted::AnyReply,
        }
    }
}

/// How much is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What has to hold for calls to get through.
    Enough,
    /// All that there is to learn.
    All,
}

/// A node to ask.
#[derive(Clone)]
pub(crate) struct Target {
    /// Whose nodes have to be on one chain: the role's instance.
    pub(crate) group: String,
    /// The node's name.
    pub(crate) name: String,
    /// Never shown.
    pub(crate) url: Url,
    /// Whom it is trusted to be, and as whom it is called.
    pub(crate) tls: Option<Tls>,
    pub(crate) asked: Asked,
}

/// Asks all nodes at once and prints a table. Whether every one is right.
pub(crate) fn command(targets: Vec<Target>, attest: Option<Attestation>) -> bool {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("error: cannot start asking: {why}");
            return false;
        }
    };
    let verdicts = runtime.block_on(examine(&targets, Depth::Enough, attest));
    runtime.shutdown_background();
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    print!("{}", table::render(&names, &verdicts));
    verdicts.iter().all(Verdict::right)
}

/// Asks all nodes at once, and compares what they say.
pub(crate) async fn examine(targets: &[Target], depth: Depth, attest: Option<Attestation>) -> Vec<Verdict> {
    let answers = ask_all(targets, depth, attest).await;
    let groups: Vec<&str> = targets.iter().map(|target| target.group.as_str()).collect();
    answer::judge(&groups, &answers)
}

async fn ask_all(targets: &[Target], depth: Depth, attest: Option<Attestation>) -> Vec<Answers> {
    let asked: Vec<_> =
        targets.iter().cloned().map(|target| tokio::spawn(ask(target, depth, attest.clone()))).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for one in asked {
        answers.push(one.await.unwrap_or_default());
    }
    answers
}

async fn ask(target: Target, depth: Depth, attest: Option<Attestation>) -> Answers {
    let started = Instant::now();
    let deadline = started + DEADLINE;
    let mut answers = Answers { wanted: target.asked.wanted(), ..Answers::default() };
    let options = Options { max_reply: MAX_REPLY, attest, tls: target.tls.clone(), ..Options::default() };
    let client = match Client::new(&target.url, options) {
        Ok(client) => client,
        Err(why) => {
            answers.failed = Some(Failure::new(why.to_string(), "mend its URL"));
            return answers;
        }
    };
    for (id, (method, params)) in target.asked.questions(depth).enumerate() {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let reply = call(&client, &target.asked, body, deadline).await;
        let now = wall_clock();
        if id == 0 {
            answers.took = started.elapsed();
        }
        match reply {
            Ok(reply) => answers.take(method, &reply, now),
            Err(why) => answers.failed = Some(Failure::of_call(&why)),
        }
        if answers.failed.is_some() {
            break;
        }
    }
    answers
}

async fn call(
    client: &Client,
    asked: &Asked,
    body: String,
    deadline: Instant,
) -> Result<HttpReply, CallError> {
    let token = match asked {
        Asked::Engine(secret) => Some(sign(secret, &Claims::at(wall_clock()))),
        Asked::Passage | Asked::Ethereum | Asked::NetVersion => None,
    };
    client.post(Bytes::from(body), token.as_deref(), deadline).await
}

/// The time of day.
#[allow(clippy::disallowed_methods, reason = "tokens and skew are about the wall clock")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
