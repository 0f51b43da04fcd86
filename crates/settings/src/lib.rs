//! One table of keys per section is the single source of flags, variables, file entries, defaults,
//! help, the resolved listing and the JSON Schema.
//!
//! A role writes its table down once as a [`Section`] of [`Key`]s. [`resolve`] takes one instance of
//! a section together from flag, variable, file and default (that is the precedence), checks every
//! value against its [`Kind`] and collects *all* problems, each with the place it came from. What
//! comes out is [`Settings`], whose typed getters cannot fail any more; a role turns them into its own
//! validated type.
//!
//! ```
//! use mainstay_settings::{Flags, Key, Kind, Section, Sources, resolve};
//!
//! pub static SECTION: Section = Section::role(
//!     "engine",
//!     "One consensus client to many execution clients",
//!     &[
//!         Key::new("nodes", Kind::List(&Kind::Text), "Engine API of the nodes").short('n').required(),
//!         Key::new("straggler_wait", Kind::Or(&Kind::Duration, &["adaptive", "timeout"]), "How long …")
//!             .default("adaptive"),
//!     ],
//! );
//!
//! let mut flags = Flags::default();
//! flags.set("nodes", "--nodes", vec!["http://127.0.0.1:8551".into()]);
//! let mut problems = Vec::new();
//! let sources = Sources { file: None, variables: None, fallbacks: &[], flags: &flags };
//! let settings = resolve(&SECTION, &sources, &mut problems);
//! assert!(problems.is_empty());
//! assert_eq!(settings.list("nodes"), ["http://127.0.0.1:8551"]);
//! assert_eq!(settings.duration("straggler_wait"), None); // a word stands there:
//! assert_eq!(settings.text("straggler_wait"), Some("adaptive"));
//! ```
//!
//! Nothing here reads the environment or parses a command line: both are handed in, so that
//! everything can be tested as a plain function.

pub mod common;
mod describe;
mod difference;
mod file;
mod kind;
mod listen;
mod node;
mod origin;
mod resolve;
mod schema;
mod settings;
mod table;
pub mod tls;
mod units;

pub use describe::{describe_json, describe_toml};
pub use difference::{Difference, difference};
pub use file::{File, Instance, ReadError, read_text};
pub use kind::Kind;
pub use listen::{Listen, SOCKET_MODE};
pub use origin::{Origin, Problem, is_key, redact, sort_problems};
pub use resolve::{Flags, Sources, Variables, check_file, check_variables, resolve};
pub use schema::schema;
pub use settings::Settings;
pub use table::{Key, Scope, Section};
pub use units::{format_duration, parse_duration, parse_size};

/// The known name that `wrong` was most likely meant to be, if one is near enough to be worth naming.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + wrong.len().min(name.len()) / 3)
        .min()
        .map(|(_, name)| name)
}
