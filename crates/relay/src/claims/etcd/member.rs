//! One member: connections to it, and the token that it takes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use mainstay_wire::client::{Again, Client, Options};
use tokio::time::Instant;

use super::address::User;
use super::api;

/// An answer is a few hundred bytes.
const MAX_REPLY: usize = 64 * 1024;
/// A member without a leader then says so at once, and doesn't wait for one.
const NEEDS_LEADER: &str = "grpc-metadata-hasleader";

/// Why a member did not do what it was asked for. Its text holds no credentials and no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The lease is gone.
    NoLease,
    /// Anything else, for people.
    Other(String),
}

/// What is known of how a member wants to be told who asks.
#[derive(Clone, Default)]
enum Token {
    #[default]
    Unknown,
    /// It doesn't want to know.
    NotWanted,
    Is(HeaderValue),
}

pub(super) struct Member {
    pub(super) place: String,
    client: Client,
    user: Option<User>,
    token: Mutex<Token>,
    looks: Mutex<Looks>,
}

/// Whether it is of use.
#[derive(Default)]
struct Looks {
    /// When the last look at it began, and why it was of none then.
    failed: Option<(Instant, Trouble)>,
    /// When it last answered a claim, or what else is asked for somebody.
    answered: Option<Instant>,
}

/// What a member said.
enum Reply {
    Done(Bytes),
    /// The token is too old, or from before it was restarted, or there was none.
    WhoAsks,
}

impl Member {
    pub(super) fn new(place: String, client: Client, user: Option<User>) -> Self {
        Self { place, client, user, token: Mutex::default(), looks: Mutex::default() }
    }

    /// How its client is to be made.
    pub(super) fn options() -> Options {
        Options { max_reply: MAX_REPLY, max_idle: 16, ..Options::default() }
    }

    /// Why it isn't to be asked, if it was of no use when it was last looked at, and has answered nobody since that look began: what asks for
    /// nothing goes on asking it, and claims don't wait for it.
    pub(super) fn away(&self) -> Option<Trouble> {
        let looks = self.looks();
        let (began, trouble) = looks.failed.as_ref()?;
        looks.answered.is_none_or(|at| at <= *began).then(|| trouble.clone())
    }

    /// What came of a look that began then.
    pub(super) fn looked_at<T>(&self, began: Instant, outcome: &Result<T, Trouble>) {
        self.looks().failed = outcome.as_ref().err().map(|trouble| (began, trouble.clone()));
    }

    /// It has answered somebody: claims are not to be kept from it for what a look that began before finds or has found.
    pub(super) fn has_answered(&self) {
        self.looks().answered = Some(Instant::now());
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts to one of etcd's functions; authenticates where that has to be. All that is asked may be asked twice.
    pub(super) async fn ask(
        &self,
        function: &'static str,
        body: &Bytes,
        again: Again,
        deadline: Instant,
    ) -> Result<Bytes, Trouble> {
        let mut token = self.token();
        for _ in 0..2 {
            if matches!(token, Token::Unknown) {
                token = self.authenticate(again, deadline).await?;
            }
            match self.post(function, body, &token, again, deadline).await? {
                Reply::Done(answer) => return Ok(answer),
                Reply::WhoAsks => token = self.keep(Token::Unknown),
            }
        }
        Err(self.trouble("it does not accept the user, or wants one"))
    }

    fn token(&self) -> Token {
        match self.user {
            Some(_) => self.token.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            None => Token::NotWanted,
        }
    }

    fn keep(&self, token: Token) -> Token {
        // Who has no user has nothing to tell.
        let token = if self.user.is_some() { token } else { Token::NotWanted };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        token
    }

    async fn authenticate(&self, again: Again, deadline: Instant) -> Result<Token, Trouble> {
        let Some(user) = &self.user else { return Ok(Token::NotWanted) };
        let body = api::authenticate(&user.name, &user.password);
        let (status, answer) = self.send("/v3/auth/authenticate", &body, None, again, deadline).await?;
        if status == StatusCode::OK {
            let token = api::read_token(&answer).and_then(|token| HeaderValue::try_from(token).ok());
            let mut token = token.ok_or_else(|| self.trouble("it gives no token"))?;
            token.set_sensitive(true);
            return Ok(self.keep(Token::Is(token)));
        }
        match api::read_error(&answer) {
            Some((_, text)) if text.contains("authentication is not enabled") => {
                Ok(self.keep(Token::NotWanted))
            }
            Some((_, text)) if text.contains("authentication failed") => {
                Err(self.trouble("it does not accept the user or password"))
            }
            error => Err(self.refused(status, error)),
        }
    }

    async fn post(
        &self,
        function: &'static str,
        body: &Bytes,
        token: &Token,
        again: Again,
        deadline: Instant,
    ) -> Result<Reply, Trouble> {
        let token = if let Token::Is(token) = token { Some(token) } else { None };
        let (status, answer) = self.send(function, body, token, again, deadline).await?;
        if status == StatusCode::OK {
            return Ok(Reply::Done(answer));
        }
        match api::read_error(&answer) {
            Some((_, text)) if text.contains("requested lease not found") => Err(Trouble::NoLease),
            Some((_, text))
                if text.contains("invalid auth token")
                    || text.contains("revision of auth store is old")
                    || text.contains("revision in header is old")
                    || text.contains("user name is empty") =>
            {
                Ok(Reply::WhoAsks)
            }
            error => Err(self.refused(status, error)),
        }
    }

    async fn send(
        &self,
        function: &'static str,
        body: &Bytes,
        token: Option<&HeaderValue>,
        again: Again,
        deadline: Instant,
    ) -> Result<(StatusCode, Bytes), Trouble> {
        let mut request = Request::new(body.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(function);
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(NEEDS_LEADER, HeaderValue::from_static("true"));
        if let Some(token) = token {
            fields.insert(AUTHORIZATION, token.clone());
        }
        let reply = self.client.send_again(request, again, deadline).await;
        let reply = reply.map_err(|error| self.trouble(&error.to_string()))?;
        Ok((reply.status, reply.body))
    }

    /// Its own text may quote what it was asked, so it isn't shown.
    fn refused(&self, status: StatusCode, error: Option<(u32, String)>) -> Trouble {
        let Some((code, text)) = error else {
            return self.trouble(&format!(
                "it answers with the status {}: no etcd, or one before 3.4, or without its JSON gateway",
                status.as_u16()
            ));
        };
        let known = [
            ("permission denied", "its user lacks a permission on the keys (readwrite on the prefix)"),
            ("no leader", "it has no leader"),
            ("leader changed", "its leader has changed"),
            ("request timed out", "it gets no answer from its leader"),
            ("database space exceeded", "its database is full (alarm NOSPACE)"),
            ("too many requests", "it has too much to do"),
        ];
        match known.iter().find(|(part, _)| text.contains(part)) {
            Some((_, why)) => self.trouble(why),
            None => self.trouble(&format!("it answers with the error {code}")),
        }
    }

    pub(super) fn trouble(&self, why: &str) -> Trouble {
        Trouble::Other(format!("etcd {}: {why}", self.place))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use url::Url;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_that_failed_says_nothing_of_a_member_that_has_answered_since() {
        let client = Client::new(&Url::parse("http://127.0.0.1:9/").unwrap(), Member::options()).unwrap();
        let member = Member::new("here".to_owned(), client, None);
        let failed = Err::<(), _>(member.trouble("connection reset"));
        let after = async |millis| {
            tokio::time::advance(Duration::from_millis(millis)).await;
            Instant::now()
        };
        let began = after(10).await;
        member.looked_at(began, &failed);
        assert_eq!(member.away(), failed.clone().err());
        // A claim that was under way is answered while it is looked at, and the look fails later.
        let began = after(10).await;
        after(10).await;
        member.has_answered();
        member.looked_at(began, &failed);
        assert_eq!(member.away(), None);
        let began = after(10).await;
        member.looked_at(began, &failed);
        assert_eq!(member.away(), failed.err());
        member.looked_at(began, &Ok(()));
        assert_eq!(member.away(), None);
    }
}
