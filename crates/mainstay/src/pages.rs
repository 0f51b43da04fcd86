//! The page of metrics: of the process, and of every role that serves.
//!
//! Each role has a registry of its own, so that one that goes takes its series with it, whatever its labels. What several roles of a kind
//! have in common, the names and what they mean, stands on the page once all the same, as OpenMetrics wants it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mainstay_admin::Page;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use crate::shared::Shared;

/// What makes the page. Clones share it.
#[derive(Clone)]
pub(crate) struct Pages {
    process: Arc<Registry>,
    roles: Shared<Vec<Arc<Registry>>>,
}

impl Pages {
    /// Of a process without roles.
    pub(crate) fn new(process: Registry) -> Self {
        Self { process: Arc::new(process), roles: Shared::default() }
    }

    /// From now on the roles are these.
    pub(crate) fn set(&self, roles: Vec<Arc<Registry>>) {
        *self.roles.lock() = roles;
    }

    /// The page of now.
    ///
    /// # Errors
    /// A metric can't be written.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let roles = self.roles.lock().clone();
        let mut parts = Vec::new();
        for registry in roles.iter().chain([&self.process]) {
            let mut part = String::new();
            encode_registry(&mut part, registry)?;
            parts.push(part);
        }
        let mut page = merged(&parts);
        encode_eof(&mut page)?;
        Ok(page)
    }

    /// The same, for who shows it.
    pub(crate) fn page(&self) -> Page {
        let pages = self.clone();
        Arc::new(move || pages.text())
    }
}

/// A family of metrics: what is said of it, and its samples.
struct Family<'a> {
    said: Vec<&'a str>,
    samples: Vec<&'a str>,
}

/// One page of several, without an end. Families of one name are one, as the first part says of it, in the order in which they come. Pure.
fn merged(parts: &[String]) -> String {
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for part in parts {
        let (mut name, mut at, mut is_new) = ("", 0, false);
        for line in part.lines() {
            match said_of(line) {
                Some(of) => {
                    if of != name {
                        name = of;
                        is_new = !known.contains_key(of);
                        at = *known.entry(of).or_insert(families.len());
                        if is_new {
                            families.push(Family { said: Vec::new(), samples: Vec::new() });
                        }
                    }
                    if is_new && let Some(family) = families.get_mut(at) {
                        family.said.push(line);
                    }
                }
                None => {
                    if let Some(family) = families.get_mut(at) {
                        family.samples.push(line);
                    }
                }
            }
        }
    }
    let mut page = String::with_capacity(parts.iter().map(String::len).sum());
    for line in families.iter().flat_map(|family| family.said.iter().chain(&family.samples)) {
        page.push_str(line);
        page.push('\n');
    }
    page
}

/// Of which family a line says something; `None`: it is a sample.
fn said_of(line: &str) -> Option<&str> {
    let said = ["# HELP ", "# TYPE ", "# UNIT "].iter().find_map(|start| line.strip_prefix(start))?;
    said.split(' ').next()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Labelled;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Unit;

    use super::*;

    fn registry(role: &str, more: bool) -> Arc<Registry> {
        let mut registry = Registry::default();
        let calls = Labelled::<[(&'static str, String); 1], Counter>::default();
        calls.get_or_create(&[("role", role.to_owned())]).inc();
        registry.register("calls", "Calls", calls);
        let wait = Labelled::<[(&'static str, String); 1], Gauge>::default();
        wait.get_or_create(&[("role", role.to_owned())]).set(3);
        registry.register_with_unit("wait", "How long", Unit::Seconds, wait);
        if more {
            registry.register("nodes", "Nodes", Gauge::<i64>::default());
        }
        Arc::new(registry)
    }

    #[test]
    fn roles_of_a_kind_are_on_one_page_and_one_that_goes_takes_its_series_with_it() {
        let mut process = Registry::default();
        process.register("up", "Up", Gauge::<i64>::default());
        let pages = Pages::new(process);
        let (one, two) = (registry("one", false), registry("two", true));
        pages.set(vec![one.clone(), two]);
        let whole = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{role=\"one\"} 1\ncalls_total{role=\"two\"} 1\n\
                     # HELP wait_seconds How long.\n# TYPE wait_seconds gauge\n# UNIT wait_seconds seconds\n\
                     wait_seconds{role=\"one\"} 3\nwait_seconds{role=\"two\"} 3\n\
                     # HELP nodes Nodes.\n# TYPE nodes gauge\nnodes 0\n\
                     # HELP up Up.\n# TYPE up gauge\nup 0\n# EOF\n";
        assert_eq!(pages.text().unwrap(), whole);
        pages.set(vec![one]);
        let page = pages.text().unwrap();
        assert!(page.contains("role=\"one\"") && !page.contains("two") && !page.contains("nodes"), "{page}");
        pages.set(Vec::new());
        assert_eq!(pages.text().unwrap(), "# HELP up Up.\n# TYPE up gauge\nup 0\n# EOF\n");
    }

    #[test]
    fn what_stands_in_labels_is_no_line_of_its_own() {
        let page = merged(&["# TYPE a gauge\na{of=\"# TYPE b\\nx\"} 1\n".to_owned()]);
        assert_eq!(page, "# TYPE a gauge\na{of=\"# TYPE b\\nx\"} 1\n");
    }
}
