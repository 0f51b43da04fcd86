//! The node's side of HTTP/2, frame by frame, so that it can do what no server does on request.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;

pub(super) struct Peer<S> {
    stream: S,
    /// The header fields of the newest request, as HPACK has them.
    pub(super) fields: Vec<u8>,
}

/// What the client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A whole request on this stream.
    Request(u32),
    /// No reply on this stream any more, for that reason.
    Reset(u32, u32),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(super) async fn accept(mut stream: S) -> Self {
        let mut preface = [0; PREFACE.len()];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
        let mut peer = Self { stream, fields: Vec::new() };
        peer.write(SETTINGS, 0, 0, &[]).await;
        peer
    }

    /// What the client wants next; `None` when it is gone. Settings and pings are acknowledged meanwhile.
    pub(super) async fn wish(&mut self) -> Option<Wish> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let id = u32::from_be_bytes(id);
            if kind == HEADERS {
                self.fields.clone_from(&payload);
            }
            match kind {
                SETTINGS if flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 => self.write(PING, ACK, 0, &payload).await,
                DATA | HEADERS if flags & END_STREAM != 0 => return Some(Wish::Request(id)),
                RESET => {
                    return Some(Wish::Reset(id, u32::from_be_bytes(payload.try_into().unwrap())));
                }
                _ => {}
            }
        }
    }

    /// The stream of the next request.
    pub(super) async fn request(&mut self) -> u32 {
        loop {
            match self.wish().await.expect("the client is gone") {
                Wish::Request(id) => return id,
                Wish::Reset(..) => {}
            }
        }
    }

    /// Answers 200 with this body.
    pub(super) async fn answer(&mut self, id: u32, body: &[u8]) {
        // The eighth entry of HPACK's static table.
        self.write(HEADERS, END_HEADERS, id, &[0x88]).await;
        self.write(DATA, END_STREAM, id, body).await;
    }

    pub(super) async fn reset(&mut self, id: u32, reason: u32) {
        self.write(RESET, 0, id, &reason.to_be_bytes()).await;
    }

    /// Goes away, having taken requests up to `last`.
    pub(super) async fn go_away(&mut self, last: u32) {
        self.write(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()).await;
    }

    async fn write(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &id.to_be_bytes()].concat();
        self.stream.write_all(&[&head, payload].concat()).await.unwrap();
    }
}
