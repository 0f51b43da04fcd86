//! Whether another relay uses one of our outer peers.
//!
//! A node that is connected to two relays comes to their outer peers twice, with one id; and a node refuses the second connection of one and the same
//! node. So relays of one producer are to have outer peers of their own. What each uses stands in the store that they share, for [`USE_TTL`] and
//! written anew every [`BEAT`]: the names in its settings, and the ids that nodes have told in their handshakes, since one node may have two names.
//! The first relay has a peer, the others are told whose it is.
//!
//! **A relay that is gone** stands there for some seconds still, with what never changes again: the one that comes in its place isn't to be warned of itself. So a peer
//! is another's when what that has written changes between two looks.
//!
//! Names of this machine (`localhost`, `127.0.0.1`) are others on other machines and aren't written down. Nothing waits for any of this, and nothing is
//! refused for it: two relays before one peer are worse than two peers, and better than a relay that doesn't start.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// For how long it is remembered what a relay uses.
pub const USE_TTL: Duration = Duration::from_secs(20);
/// How often a relay writes it down.
pub const BEAT: Duration = Duration::from_secs(5);

/// Who uses something, as it stands in a store: an id that no other process has, a number that changes with each time, and a name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Without spaces.
    pub id: String,
    /// Counts.
    pub beat: u64,
    /// Any text.
    pub name: String,
}

impl User {
    /// `ID BEAT NAME`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {}", self.id, self.beat, self.name)
    }

    /// Reads [`User::text`].
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let (id, beat, name) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        Some(Self { id: id.to_owned(), beat, name: name.to_owned() })
    }
}

/// What others use of ours. Pure.
#[derive(Clone, Debug, Default)]
pub struct Siblings(BTreeMap<String, Seen>);

/// Who has a peer.
#[derive(Clone, Debug)]
struct Seen {
    user: User,
    /// It has written that once more since it was first seen.
    lives: bool,
}

impl Siblings {
    /// Takes in who has each of our peers (`None`: we do), of all that we use now. Those that are another's only since, and whose.
    pub fn looked(&mut self, users: Vec<(String, Option<User>)>) -> Vec<(String, String)> {
        let mut news = Vec::new();
        let before = std::mem::take(&mut self.0);
        for (peer, user) in users {
            let Some(user) = user else { continue };
            let lives = before.get(&peer).is_some_and(|seen| {
                let same = seen.user.id == user.id;
                let lives = same && (seen.lives || seen.user.beat != user.beat);
                if lives && !seen.lives {
                    news.push((peer.clone(), user.name.clone()));
                }
                lives
            });
            self.0.insert(peer, Seen { user, lives });
        }
        news
    }

    /// What the other relay is called that has a peer; `None`: no other has it.
    #[must_use]
    pub fn of(&self, peer: &str) -> Option<&str> {
        self.0.get(peer).filter(|seen| seen.lives).map(|seen| seen.user.name.as_str())
    }
}

/// Whether a `HOST:PORT` is the same node for relays on other machines.
#[must_use]
pub fn is_known_elsewhere(endpoint: &str) -> bool {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => !address.is_loopback() && !address.is_unspecified(),
        Err(_) => {
            !bare.eq_ignore_ascii_case("localhost") && !bare.to_ascii_lowercase().ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, beat: u64) -> Option<User> {
        Some(User { id: id.to_owned(), beat, name: format!("relay of {id}") })
    }

    fn looked(siblings: &mut Siblings, users: &[(&str, Option<User>)]) -> Vec<(String, String)> {
        siblings.looked(users.iter().map(|(peer, user)| ((*peer).to_owned(), user.clone())).collect())
    }

    #[test]
    fn a_peer_is_anothers_when_that_writes_it_down_again() {
        let mut siblings = Siblings::default();
        assert_eq!(looked(&mut siblings, &[("c", user("x", 7)), ("d", None)]), []);
        assert_eq!((siblings.of("c"), siblings.of("d")), (None, None));
        assert_eq!(looked(&mut siblings, &[("c", user("x", 7)), ("d", None)]), []);
        let news = looked(&mut siblings, &[("c", user("x", 8)), ("d", None)]);
        assert_eq!(news, [("c".to_owned(), "relay of x".to_owned())]);
        // Once, though it stays so.
        for beat in [8, 9, 10, 10] {
            assert_eq!(looked(&mut siblings, &[("c", user("x", beat))]), []);
            assert_eq!(siblings.of("c"), Some("relay of x"));
        }
        // It is another one's, of whom it isn't known; then nobody's.
        assert_eq!(looked(&mut siblings, &[("c", user("y", 3))]), []);
        assert_eq!(siblings.of("c"), None);
        assert_eq!(looked(&mut siblings, &[("c", user("y", 4))]).len(), 1);
        assert_eq!(looked(&mut siblings, &[("c", None)]), []);
        assert_eq!(siblings.of("c"), None);
    }

    /// It stands there until its time is over, and doesn't change.
    #[test]
    fn who_was_here_before_is_no_other() {
        let mut siblings = Siblings::default();
        for _ in 0..5 {
            assert_eq!(looked(&mut siblings, &[("c", user("before", 99))]), []);
            assert_eq!(siblings.of("c"), None);
        }
    }

    #[test]
    fn users_are_read_as_they_are_written() {
        let it = User { id: "ab12".into(), beat: u64::MAX, name: "relay on host 1".into() };
        assert_eq!(User::read(&it.text()), Some(it));
        for text in ["", "a", "a 1", "a b c", "a -1 c"] {
            assert_eq!(User::read(text), None, "{text}");
        }
    }

    #[test]
    fn names_of_this_machine_are_others_elsewhere() {
        for (endpoint, known) in [
            ("sentry-1:9876", true),
            ("10.0.0.1:9876", true),
            ("[2001:db8::1]:9876", true),
            ("localhost.example:9876", true),
            ("127.0.0.1:9876", false),
            ("127.8.8.8:9876", false),
            ("[::1]:9876", false),
            ("0.0.0.0:9876", false),
            ("localhost:9876", false),
            ("LOCALHOST:9876", false),
            ("a.localhost:9876", false),
        ] {
            assert_eq!(is_known_elsewhere(endpoint), known, "{endpoint}");
        }
    }
}
