//! What a reply says, in one line. Only for eyes: decisions read replies elsewhere.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::evidence::Reply;

/// Characters of a node's own words that are shown in a table.
const SHOWN: usize = 200;

/// One line about a reply.
pub(super) struct Said(String);

impl Said {
    pub(super) fn of(reply: &Reply) -> Self {
        let mut parts = Vec::new();
        if let Some(status) = reply.status.filter(|&status| status != 200) {
            parts.push(format!("HTTP {status}"));
        }
        if let Some(error) = &reply.error {
            parts.push(error.clone());
        }
        if let Some(body) = &reply.body {
            parts.push(Self::of_body(body.kept()).0);
        }
        if parts.is_empty() {
            parts.push("nothing".to_owned());
        }
        Self(parts.join("; "))
    }

    pub(super) fn of_body(body: &[u8]) -> Self {
        let said = match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { error: Some(error), .. }) => format!("error {} {}", error.code, error.message),
            Ok(Envelope { result: Some(result), .. }) => result.to_string(),
            _ => format!("{:?}", clean(&String::from_utf8_lossy(body), SHOWN)),
        };
        Self(said)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.0, 2 * SHOWN))
    }
}

#[derive(Deserialize)]
struct Envelope {
    result: Option<Answer>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
}

/// The result of forkchoiceUpdated, of newPayload, or anything.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    #[serde(rename_all = "camelCase")]
    Choice {
        payload_status: Status,
        payload_id: Option<String>,
    },
    Payload(Status),
    Other(Value),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    status: String,
    latest_valid_hash: Option<String>,
    validation_error: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice { payload_status, payload_id: None } => payload_status.fmt(f),
            Self::Choice { payload_status, payload_id: Some(id) } => {
                write!(f, "{payload_status}, payloadId {id}")
            }
            Self::Payload(status) => status.fmt(f),
            Self::Other(value) => f.write_str(&clean(&value.to_string(), SHOWN)),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status)?;
        if let Some(hash) = &self.latest_valid_hash {
            write!(f, ", latestValidHash {hash}")?;
        }
        if let Some(error) = &self.validation_error {
            write!(f, ", {:?}", clean(error, SHOWN))?;
        }
        Ok(())
    }
}

/// At most so many characters, none of which drives a terminal: a node's words are not to be trusted.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut cleaned: String = text
        .chars()
        .take(most)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(most).is_some() {
        cleaned.push('…');
    }
    cleaned
}
