//! `mainstay check --probe`: asks every node what its clients would find out the hard way.

mod answer;
mod table;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mainstay_wire::client::{Attestation, CallError, Client, HttpReply, Options, Tls};
use mainstay_wire::jwt::{Claims, Secret, sign};
use tokio::time::Instant;
use url::Url;

use self::answer::{Answers, Verdict, Wanted};

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
    fn questions(&self) -> &'static [Question] {
        match self {
            Self::Engine(_) => ENGINE,
            Self::Passage => PASSAGE,
            Self::Ethereum => ETHEREUM,
            Self::NetVersion => NET_VERSION,
        }
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
    let answers = runtime.block_on(ask_all(&targets, attest));
    runtime.shutdown_background();
    let groups: Vec<&str> = targets.iter().map(|target| target.group.as_str()).collect();
    let verdicts = answer::judge(&groups, &answers);
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    print!("{}", table::render(&names, &verdicts));
    verdicts.iter().all(Verdict::right)
}

async fn ask_all(targets: &[Target], attest: Option<Attestation>) -> Vec<Answers> {
    let asked: Vec<_> =
        targets.iter().cloned().map(|target| tokio::spawn(ask(target, attest.clone()))).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for one in asked {
        answers.push(one.await.unwrap_or_default());
    }
    answers
}

async fn ask(target: Target, attest: Option<Attestation>) -> Answers {
    let deadline = Instant::now() + DEADLINE;
    let mut answers = Answers { wanted: target.asked.wanted(), ..Answers::default() };
    let options = Options { max_reply: MAX_REPLY, attest, tls: target.tls.clone(), ..Options::default() };
    let client = match Client::new(&target.url, options) {
        Ok(client) => client,
        Err(why) => {
            answers.failed = Some(why.to_string());
            return answers;
        }
    };
    for (id, (method, params)) in target.asked.questions().iter().enumerate() {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let reply = call(&client, &target.asked, body, deadline).await;
        let now = wall_clock();
        match reply {
            Ok(reply) => answers.take(method, &reply, now),
            Err(why) => answers.failed = Some(why.to_string()),
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

#[allow(clippy::disallowed_methods, reason = "tokens and skew are about the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
