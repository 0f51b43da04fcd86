//! Why a guard is closed, in the Beacon API's own form of an error (`types/http.yaml`, `ErrorMessage` and `IndexedErrorMessage` of
//! ethereum/beacon-APIs). Pure.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::Serialize;

use crate::gate::Refusal;

/// One reason.
#[derive(Clone, Debug)]
pub(crate) struct Reason {
    /// The check.
    pub(crate) check: String,
    /// What it saw.
    pub(crate) saw: String,
    /// Since when.
    pub(crate) since: SystemTime,
}

/// An error as the Beacon API has it.
#[derive(Serialize)]
struct Body<'a> {
    code: u16,
    message: &'a str,
    failures: Vec<Failure<'a>>,
}

#[derive(Serialize)]
struct Failure<'a> {
    index: usize,
    message: String,
    check: &'a str,
    since: String,
}

/// What everybody is told. `back` is how long it takes at least.
pub(crate) fn refusal(reasons: &[Reason], back: Duration) -> Refusal {
    let failures: Vec<Failure<'_>> = reasons
        .iter()
        .enumerate()
        .map(|(index, reason)| {
            let since = httpdate::fmt_http_date(reason.since);
            let message = format!("{}: {}, since {since}", reason.check, reason.saw);
            Failure { index, message, check: &reason.check, since }
        })
        .collect();
    let all: Vec<&str> = failures.iter().map(|failure| failure.message.as_str()).collect();
    let message = format!("beacon node is not fit for duty: {}", all.join("; "));
    let body = Body { code: 503, message: &message, failures };
    // Strings and numbers: it can't fail.
    let body = serde_json::to_vec(&body).unwrap_or_default().into();
    Refusal { body, retry_after: HeaderValue::from(back.as_secs_f64().ceil().max(1.0) as u64) }
}

/// The body of an answer of mainstay's own that isn't about fitness.
pub(crate) fn error(code: u16, message: &str) -> Vec<u8> {
    serde_json::to_vec(&Body { code, message, failures: Vec::new() }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_says_which_check_what_it_saw_and_since_when() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400);
        let reason = |check: &str, saw: &str| Reason { check: check.to_owned(), saw: saw.to_owned(), since };
        let told = refusal(
            &[reason("syncing", "is_syncing: true"), reason("peers", "3 \"peers\"")],
            Duration::from_millis(2100),
        );
        assert_eq!(told.retry_after, "3");
        let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "code": 503,
                "message": "beacon node is not fit for duty: syncing: is_syncing: true, since Sat, 21 Nov 2026 12:00:00 GMT; peers: 3 \"peers\", since Sat, 21 Nov 2026 12:00:00 GMT",
                "failures": [
                    {"index": 0, "message": "syncing: is_syncing: true, since Sat, 21 Nov 2026 12:00:00 GMT", "check": "syncing", "since": "Sat, 21 Nov 2026 12:00:00 GMT"},
                    {"index": 1, "message": "peers: 3 \"peers\", since Sat, 21 Nov 2026 12:00:00 GMT", "check": "peers", "since": "Sat, 21 Nov 2026 12:00:00 GMT"},
                ],
            })
        );
        assert_eq!(refusal(&[], Duration::ZERO).retry_after, "1");
    }
}
