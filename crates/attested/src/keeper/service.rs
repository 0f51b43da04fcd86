//! Asking a PCS or PCCS.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use mainstay_attest::collateral::pcs::{Answer, Answers, Service};
use mainstay_attest::collateral::{Collateral, MAX_COLLATERAL};
use mainstay_wire::client::{Client, Options};
use tokio::time::Instant;
use tokio::try_join;
use url::Url;

use crate::Missing;

/// For all questions together.
const WITHIN: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
/// Headers with a chain of certificates, as PCS and PCCS of several versions call them.
const CHAINS: [&str; 4] = [
    "sgx-pck-crl-issuer-chain",
    "tcb-info-issuer-chain",
    "sgx-tcb-info-issuer-chain",
    "sgx-enclave-identity-issuer-chain",
];

/// What the service has for a platform. Whether it is signed by whom it has to be isn't looked at.
pub(super) async fn ask(service: &Service, of: Missing) -> Result<Collateral, String> {
    let questions = service.questions(of.kind, of.platform);
    let deadline = Instant::now() + WITHIN;
    let (root_crl, pck_crl, tcb_info, qe_identity) = try_join!(
        get(&questions.root_crl, deadline),
        get(&questions.pck_crl, deadline),
        get(&questions.tcb_info, deadline),
        get(&questions.qe_identity, deadline),
    )?;
    Answers { root_crl, pck_crl, tcb_info, qe_identity }.collateral().map_err(|why| why.to_string())
}

async fn get(url: &Url, deadline: Instant) -> Result<Answer, String> {
    let told = |why: &str| format!("{}{}: {why}", url.host_str().unwrap_or_default(), url.path());
    let options =
        Options { connect_timeout: CONNECT, max_reply: MAX_COLLATERAL, max_idle: 0, ..Options::default() };
    let client = Client::new(url, options).map_err(|why| told(&why.to_string()))?;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = Request::get(target).body(Bytes::new()).map_err(|why| told(&why.to_string()))?;
    let reply = client.send(request, deadline).await.map_err(|why| told(&why.to_string()))?;
    if reply.status != StatusCode::OK {
        return Err(told(&format!("HTTP {}", reply.status.as_u16())));
    }
    Ok(Answer { chain: chain(&reply.headers()), body: reply.body.to_vec() })
}

fn chain(headers: &HeaderMap) -> String {
    let found = CHAINS.iter().find_map(|name| headers.get(*name)?.to_str().ok());
    found.unwrap_or_default().to_owned()
}
