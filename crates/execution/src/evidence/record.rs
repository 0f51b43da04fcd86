//! What is kept of one disagreement, and its JSON.

use std::fmt;

use bytes::Bytes;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Id;

/// Bytes of a request or a reply that are kept; the rest is cut off, and said so.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// One split vote or late dissent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its name; see [`Id::new`].
    pub id: Id,
    /// When the call came in, in milliseconds since the Unix epoch.
    pub time: u64,
    /// For example `engine_newPayloadV4`.
    pub method: String,
    /// The block's hash, `0x…`.
    pub block: Option<String>,
    /// The block's number.
    pub number: Option<u64>,
    /// What the consensus client was told.
    pub verdict: String,
    /// Why this was kept, for example `split vote` or `late dissent`.
    pub cause: String,
    /// The version of mainstay that kept it.
    pub mainstay: String,
    /// The call's body.
    pub request: Body,
    /// What every node said, in the order of the nodes.
    pub replies: Vec<Reply>,
}

/// What one node said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The node's name, never its URL.
    pub node: String,
    /// Name and version of its client, if it is known.
    pub client: Option<String>,
    /// How it was counted: `VALID`, `INVALID`, `SYNCING`, `timeout`, `error` …
    pub vote: String,
    /// From sending the call to having the reply whole, in milliseconds; none if there is no reply.
    pub took_ms: Option<u64>,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// What went wrong instead of an HTTP reply.
    pub error: Option<String>,
    /// The reply's body.
    pub body: Option<Body>,
}

/// A body as it went over the wire. In a record's file it is embedded as JSON, byte for byte; one that is no JSON or is
/// longer than [`MAX_BODY`] becomes `{"not_verbatim": {"note": …, "text": …}}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    /// Why `bytes` is not the body itself.
    note: Option<String>,
}

impl Body {
    /// The body, if it is here whole and as it was.
    pub fn verbatim(&self) -> Option<&Bytes> {
        self.note.is_none().then_some(&self.bytes)
    }

    /// What is kept of it.
    pub fn kept(&self) -> &Bytes {
        &self.bytes
    }

    /// Why it isn't verbatim.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// Scans the whole body for being JSON (some milliseconds for a large one): make it on a blocking thread.
impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.len() > MAX_BODY {
            let note = format!("truncated: the first {MAX_BODY} of {} bytes", bytes.len());
            // A copy, so that the whole body isn't kept in memory for it.
            let bytes = Bytes::copy_from_slice(&bytes[..MAX_BODY]);
            return Self { bytes, note: Some(note) };
        }
        let note = as_json(&bytes).is_none().then(|| "not JSON".to_owned());
        Self { bytes, note }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.bytes.len())
    }
}

/// The body as JSON to embed, if it is JSON.
fn as_json(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

/// The one key of an object that stands for a body which can't be embedded.
const NOT_VERBATIM: &str = "not_verbatim";

#[derive(Serialize, Deserialize)]
struct Substitute {
    note: String,
    text: String,
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.note.is_none()
            && let Some(json) = as_json(&self.bytes)
        {
            return json.serialize(serializer);
        }
        let substitute = Substitute {
            note: self.note.clone().unwrap_or_else(|| "not JSON".to_owned()),
            text: String::from_utf8_lossy(&self.bytes).into_owned(),
        };
        let mut object = serializer.serialize_struct("Body", 1)?;
        object.serialize_field(NOT_VERBATIM, &substitute)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stand {
            not_verbatim: Substitute,
        }
        let json = Box::<RawValue>::deserialize(deserializer)?;
        if let Ok(Stand { not_verbatim }) = serde_json::from_str(json.get()) {
            return Ok(Self { bytes: not_verbatim.text.into(), note: Some(not_verbatim.note) });
        }
        Ok(Self { bytes: String::from(Box::<str>::from(json)).into(), note: None })
    }
}

impl Record {
    /// The text of the record's file.
    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the text of a record's file.
    pub(super) fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }
}
