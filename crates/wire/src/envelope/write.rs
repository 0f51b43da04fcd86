//! Replies of mainstay's own, put together around bytes that are not read again.

use bytes::Bytes;

/// `{"jsonrpc":"2.0","id":…,"result":…}`; an absent id becomes `null`. `id` and `result` are JSON and are copied as they are.
pub fn result_body(id: Option<&[u8]>, result: &[u8]) -> Bytes {
    assemble(id, b"result", result)
}

/// A reply with a JSON-RPC error; an absent id becomes `null`. `message` is text and is escaped here.
pub fn error_body(id: Option<&[u8]>, code: i64, message: &str) -> Bytes {
    let message = serde_json::Value::from(message);
    raw_error_body(id, format!(r#"{{"code":{code},"message":{message}}}"#).as_bytes())
}

/// A reply with the error object `error`, which is JSON and is copied as it is; an absent id becomes `null`.
pub fn raw_error_body(id: Option<&[u8]>, error: &[u8]) -> Bytes {
    assemble(id, b"error", error)
}

fn assemble(id: Option<&[u8]>, member: &[u8], value: &[u8]) -> Bytes {
    let id = id.unwrap_or(b"null");
    [br#"{"jsonrpc":"2.0","id":"#, id, br#",""#, member, br#"":"#, value, b"}"].concat().into()
}
