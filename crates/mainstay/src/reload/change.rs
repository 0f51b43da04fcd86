//! What a reload has to do: all that may fail first, and then the rest.

use std::sync::Arc;

use mainstay_admin::{Changed, Role};
use mainstay_node::{Level, Prepared};
use mainstay_settings::Settings;
use tracing::warn;

use super::compare::{self, Compared, Fate, Part, noted};
use super::{Fresh, Inner, Known, Read, Running, lines};
use crate::bound::bind_role;
use crate::listeners::{Held, Inherited};
use crate::plan::PlannedRole;
use crate::roster::{self, Ready, Roster};

/// A reload that was checked, and can't fail any more. Dropped it changes nothing.
pub(super) struct Checked {
    shared: Vec<Settings>,
    /// In the order of the settings.
    roles: Vec<Next>,
    /// The listeners that went from one role to another.
    inherited: Inherited,
}

/// A role of the new settings.
enum Next {
    /// That which is at this place, with these settings from now on.
    Stays(usize, Settings, Prepared),
    /// Another in place of that one.
    Replaces(usize, Known, Ready),
    New(Known, Ready),
}

/// One that was built, or is to be asked whether it takes its settings.
enum Built {
    Stays(usize, PlannedRole),
    Comes(Option<usize>, Known, Box<Ready>),
}

impl Inner {
    /// What differs, and either why it can't hold now or what carries it out.
    pub(super) async fn check(
        &self,
        read: &Read,
        fresh: Fresh,
    ) -> (Vec<Changed>, Result<Checked, Vec<String>>) {
        let Compared { mut changes, problems, fates, gone } = compared(read, &fresh);
        if !problems.is_empty() {
            return (changes, Err(problems));
        }
        let checked = self.prepare(read, fresh, &fates, &gone, &mut changes).await;
        (changes, checked)
    }

    async fn prepare(
        &self,
        read: &Read,
        fresh: Fresh,
        fates: &[Fate],
        gone: &[usize],
        changes: &mut Vec<Changed>,
    ) -> Result<Checked, Vec<String>> {
        let mut inherited = Inherited::default();
        let replaced = fates.iter().filter_map(|fate| match fate {
            Fate::Replaces(at) => Some(at),
            Fate::Stays(_) | Fate::New => None,
        });
        for at in replaced.chain(gone) {
            let held = self.held(read, *at).map_err(|why| vec![why])?;
            inherited.add_held(held).map_err(|why| vec![why])?;
        }
        let built = self.build(read, fresh.roles, fates, &mut inherited).await?;
        fit(read, &built).await?;
        // Last, as roles can be changed through the API meanwhile.
        let roles = prepared(read, built, changes)?;
        if self.roster.is_stopping() {
            return Err(vec!["the process is about to end".to_owned()]);
        }
        Ok(Checked { shared: fresh.shared, roles, inherited })
    }

    /// Further handles on the listeners of the role at this place.
    fn held(&self, read: &Read, at: usize) -> Result<Vec<Held>, String> {
        let Some(role) = read.roles.get(at) else { return Ok(Vec::new()) };
        self.roster.held(&role.serving).map_err(|why| format!("cannot keep the listeners of a role: {why}"))
    }

    /// Binds all that roles listen on that weren't there, and only then builds these.
    async fn build(
        &self,
        read: &Read,
        roles: Vec<PlannedRole>,
        fates: &[Fate],
        inherited: &mut Inherited,
    ) -> Result<Vec<Built>, Vec<String>> {
        let (mut bound, mut problems) = (Vec::new(), Vec::new());
        for (role, fate) in roles.into_iter().zip(fates) {
            let listens = role.config.as_ref().map(|config| config.listens()).unwrap_or_default();
            let listens = match fate {
                Fate::Stays(_) => Vec::new(),
                Fate::New => listens,
                Fate::Replaces(at) => Held::wanted(&self.held(read, *at).map_err(|why| vec![why])?, listens),
            };
            match bind_role(&role, listens, inherited).await {
                Ok(listeners) => bound.push((role, *fate, listeners)),
                Err(why) => problems.extend(lines(why)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut built = Vec::new();
        for (mut role, fate, listeners) in bound {
            if let (Some(attest), Some(config)) = (&self.attest, &mut role.config) {
                config.attest_by(attest.clone());
            }
            let place = match fate {
                Fate::Stays(at) => {
                    built.push(Built::Stays(at, role));
                    continue;
                }
                Fate::Replaces(at) => Some(at),
                Fate::New => None,
            };
            let Some(config) = role.config else { continue };
            let kind = role.kind.section.name;
            let known = Known { kind: role.kind, name: config.name().to_owned(), settings: role.settings };
            match Ready::build(kind, config, &self.means, listeners) {
                Ok(ready) => built.push(Built::Comes(place, known, Box::new(ready))),
                Err(why) => problems.push(format!("[{kind}] {}: {why}", known.name)),
            }
        }
        if problems.is_empty() { Ok(built) } else { Err(problems) }
    }
}

fn compared(read: &Read, fresh: &Fresh) -> Compared {
    let before: Vec<Part<'_>> = read
        .roles
        .iter()
        .map(|role| Part {
            kind: role.known.kind.section.name,
            name: &role.known.name,
            settings: &role.known.settings,
            can_be_replaced: !role.serving.is_alone,
        })
        .collect();
    let now: Vec<Part<'_>> = fresh
        .roles
        .iter()
        .filter_map(|role| {
            Some(Part {
                kind: role.kind.section.name,
                name: role.config.as_ref()?.name(),
                settings: &role.settings,
                can_be_replaced: true,
            })
        })
        .collect();
    compare::compare(&read.shared, &fresh.shared, &before, &now)
}

/// Waits for the nodes of roles that come. One that serves its clients isn't let go for one that can't.
fn fit(read: &Read, built: &[Built]) -> impl Future<Output = Result<(), Vec<String>>> + Send {
    let comes = built.iter().filter_map(|built| match built {
        Built::Comes(place, _, ready) => Some((*place, ready.beside()?)),
        Built::Stays(..) => None,
    });
    let (places, roles): (Vec<Option<usize>>, Vec<Arc<dyn Role>>) = comes.unzip();
    async move {
        let mut problems = Vec::new();
        for (role, why) in roster::fit(roles.clone()).await {
            let place =
                roles.iter().position(|one| Arc::ptr_eq(one, &role)).and_then(|nth| *places.get(nth)?);
            let before = place.and_then(|at| read.roles.get(at));
            if before.is_some_and(|before| before.serving.shown.health().0 != Level::Down) {
                problems.push(format!("[{}] {}: it would serve nobody: {why}", role.kind(), role.name()));
            } else {
                warn!(role = role.kind(), name = role.name(), why, "serving all the same");
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Asks roles that stay whether they take their settings; what is worth telling is added to the changes.
fn prepared(read: &Read, built: Vec<Built>, changes: &mut Vec<Changed>) -> Result<Vec<Next>, Vec<String>> {
    let (mut next, mut problems) = (Vec::new(), Vec::new());
    for built in built {
        let (at, role) = match built {
            Built::Comes(Some(at), known, ready) => {
                next.push(Next::Replaces(at, known, *ready));
                continue;
            }
            Built::Comes(None, known, ready) => {
                next.push(Next::New(known, *ready));
                continue;
            }
            Built::Stays(at, role) => (at, role),
        };
        let (Some(runs), Some(config)) = (read.roles.get(at), role.config) else { continue };
        let (kind, name) = (role.kind.section.name, &runs.known.name);
        match (runs.serving.prepare)(config) {
            Ok(prepared) => {
                changes.extend(prepared.notes().iter().map(|note| noted(kind, name, note)));
                next.push(Next::Stays(at, role.settings, prepared));
            }
            Err(why) => problems.extend(why.into_iter().map(|why| format!("[{kind}] {name}: {why}"))),
        }
    }
    if problems.is_empty() { Ok(next) } else { Err(problems) }
}

impl Checked {
    /// Carries it out: `read` is what was read, and serves, from now on.
    pub(super) fn carry_out(self, roster: &Roster, read: &mut Read) {
        self.inherited.pass_files();
        let mut before: Vec<Option<Running>> =
            std::mem::take(&mut read.roles).into_iter().map(Some).collect();
        let mut take = |at: usize| before.get_mut(at).and_then(Option::take);
        for next in self.roles {
            let running = match next {
                Next::Stays(at, settings, prepared) => {
                    let Some(mut running) = take(at) else { continue };
                    prepared.apply();
                    running.known.settings = settings;
                    running
                }
                Next::Replaces(at, known, ready) => {
                    let Some(running) = take(at) else { continue };
                    Running::new(known, roster.replace(&running.serving, ready))
                }
                Next::New(known, ready) => Running::new(known, roster.start(ready)),
            };
            read.roles.push(running);
        }
        for gone in before.into_iter().flatten() {
            roster.end(&gone.serving);
        }
        roster.open.take_files();
        read.shared = self.shared;
        roster.show(read.roles.iter().map(|role| &role.serving));
    }
}
