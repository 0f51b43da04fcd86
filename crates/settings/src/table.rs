//! The tables that a role writes down: keys and the section they stand in.

use crate::Kind;

/// One setting: `jwt_secret` is the flag `--jwt-secret`, the variable `MAINSTAY_ENGINE_JWT_SECRET`
/// and the entry `jwt_secret` of `[engine]`.
///
/// Written as a chain of `const` calls:
/// `Key::new("majority", Kind::Number { min: 0.0, max: 1.0 }, "Part of the votes …").default("0.6")`.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// In `snake_case`, as it stands in the file.
    pub name: &'static str,
    /// The flag's one-letter form.
    pub short: Option<char>,
    /// What values it takes.
    pub kind: Kind,
    /// The default, written as it would be on the command line. `None`: unset.
    pub default: Option<&'static str>,
    /// Without it nothing can start.
    pub required: bool,
    /// Its value is never shown, neither in a listing nor in a message.
    pub sensitive: bool,
    /// A reload gives it another value while its section runs; any other key needs a restart. Of [`Kind::Tables`]: tables may
    /// come and go; their own keys say for themselves.
    pub live: bool,
    /// One sentence without a full stop, for `--help` and the schema.
    pub help: &'static str,
}

impl Key {
    /// An optional key without a default.
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, short: None, kind, default: None, required: false, sensitive: false, live: false, help }
    }

    /// Gives the flag a one-letter form.
    pub const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Gives it a default, written as on the command line.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// Nothing starts without it.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// A reload changes it.
    pub const fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Its value is never shown.
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }
}

/// How a section appears in the file and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A role: `[engine]`, or several as `[[engine]]`. Its flags carry no prefix, as they belong to
    /// the role's own subcommand.
    Role,
    /// At most one, beside the roles: `[admin]`. Its flags carry its name: `--admin-listen`.
    Shared,
    /// The keys at the top of the file, before any section. `name` is empty.
    Top,
    /// Tables inside a section, `[[rpc.rule]]`: what a key of [`Kind::Tables`] holds. `name` has both parts. Its keys are
    /// set in the file only.
    Nested,
}

/// A table of keys.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// As in the file: `engine` for `[engine]`; empty for [`Scope::Top`].
    pub name: &'static str,
    /// One sentence without a full stop, for the schema.
    pub about: &'static str,
    /// Where it stands.
    pub scope: Scope,
    /// In the order in which they are listed.
    pub keys: &'static [Key],
}

impl Section {
    /// A section of a role, `[name]` or `[[name]]`.
    pub const fn role(name: &'static str, about: &'static str, keys: &'static [Key]) -> Self {
        Self { name, about, scope: Scope::Role, keys }
    }

    /// A section that exists at most once, `[name]`.
    pub const fn shared(name: &'static str, about: &'static str, keys: &'static [Key]) -> Self {
        Self { name, about, scope: Scope::Shared, keys }
    }

    /// Tables inside a section, `[[name]]`; `name` is `section.key`.
    pub const fn nested(name: &'static str, about: &'static str, keys: &'static [Key]) -> Self {
        Self { name, about, scope: Scope::Nested, keys }
    }

    /// The keys at the top of the file.
    pub const fn top(about: &'static str, keys: &'static [Key]) -> Self {
        Self { name: "", about, scope: Scope::Top, keys }
    }

    /// The key called `name`.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys that a flag or a variable can give.
    pub fn plain_keys(&self) -> impl Iterator<Item = &'static Key> {
        let plain = self.scope != Scope::Nested;
        self.keys.iter().filter(move |key| plain && !matches!(key.kind, Kind::Tables(_)))
    }

    /// The flag of a key, without its dashes: `jwt-secret`, `admin-listen`.
    pub fn flag(&self, key: &str) -> String {
        let key = key.replace('_', "-");
        match self.scope {
            Scope::Shared => format!("{}-{key}", self.name),
            Scope::Role | Scope::Top | Scope::Nested => key,
        }
    }

    /// The variable of a key: `MAINSTAY_ENGINE_JWT_SECRET`, `MAINSTAY_SHUTDOWN_GRACE`.
    pub fn variable(&self, key: &str) -> String {
        let key = key.to_ascii_uppercase();
        match self.scope {
            Scope::Top => format!("MAINSTAY_{key}"),
            Scope::Role | Scope::Shared | Scope::Nested => {
                format!("MAINSTAY_{}_{key}", self.name.to_ascii_uppercase())
            }
        }
    }

    /// How messages call a key: `[engine] majority`, `shutdown_grace`.
    pub fn title(&self, key: &str) -> String {
        match self.scope {
            Scope::Top => key.to_owned(),
            Scope::Role | Scope::Shared => format!("[{}] {key}", self.name),
            Scope::Nested => format!("[[{}]] {key}", self.name),
        }
    }
}
