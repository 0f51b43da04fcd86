//! What a doctor has found, and how it is shown. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Ok,
    /// It works, and deserves a look.
    Warn,
    /// Something doesn't work, or won't.
    Fail,
}

impl Weight {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What kind of thing: `clocks`.
    pub(super) area: &'static str,
    pub(super) weight: Weight,
    /// Whose: a node, a file, an address.
    pub(super) of: String,
    pub(super) what: String,
    /// What to do; empty where nothing is.
    pub(super) remedy: String,
}

/// The findings of one area.
pub(super) struct Findings<'a> {
    pub(super) area: &'static str,
    pub(super) all: &'a mut Vec<Finding>,
}

impl Findings<'_> {
    pub(super) fn ok(&mut self, of: impl Into<String>, what: impl Into<String>) {
        self.add(Weight::Ok, of, what, "");
    }

    pub(super) fn warn(&mut self, of: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Weight::Warn, of, what, remedy);
    }

    pub(super) fn fail(&mut self, of: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Weight::Fail, of, what, remedy);
    }

    pub(super) fn add(
        &mut self,
        weight: Weight,
        of: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (of, what, remedy) = (of.into(), what.into(), remedy.into());
        self.all.push(Finding { area: self.area, weight, of, what, remedy });
    }
}

/// Whether something failed.
pub(super) fn any_failed(findings: &[Finding]) -> bool {
    count(findings, Weight::Fail) > 0
}

fn count(findings: &[Finding], weight: Weight) -> usize {
    findings.iter().filter(|finding| finding.weight == weight).count()
}

/// For people: a line each, under those that aren't ok what to do, and how many there are of each.
pub(super) fn page(findings: &[Finding]) -> String {
    let widest = findings.iter().map(|finding| finding.of.chars().count()).max().unwrap_or_default().min(32);
    let mut page = String::new();
    for Finding { area, weight, of, what, remedy } in findings {
        let word = if *weight == Weight::Fail { "FAIL" } else { weight.word() };
        let _ = writeln!(page, "{word:<4}  {area:<13}  {of:<widest$}  {what}");
        if !remedy.is_empty() {
            let _ = writeln!(page, "      → {remedy}");
        }
    }
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let _ = writeln!(
        page,
        "{} ok, {}, {}",
        count(findings, Weight::Ok),
        plural(count(findings, Weight::Warn), "warning"),
        plural(count(findings, Weight::Fail), "failure")
    );
    // Texts may come from a node: what could steer the terminal is left out.
    page.retain(|c| c == '\n' || !c.is_control());
    page
}

/// The same for programs.
pub(super) fn document(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "area": finding.area,
            "weight": finding.weight.word(),
            "of": finding.of,
            "what": finding.what,
            "remedy": if finding.remedy.is_empty() { Value::Null } else { finding.remedy.as_str().into() },
        })
    };
    json!({
        "ok": count(findings, Weight::Ok),
        "warnings": count(findings, Weight::Warn),
        "failures": count(findings, Weight::Fail),
        "findings": findings.iter().map(one).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_and_a_document() {
        let mut all = Vec::new();
        let mut findings = Findings { area: "clocks", all: &mut all };
        findings.ok("el1", "agrees with ours");
        findings.warn("el-two", "is +12 s\u{1b}[2J from ours", "set it");
        let mut findings = Findings { area: "reachability", all: &mut all };
        findings.fail("el3", "connection refused", "start it");
        let expected = "\
ok    clocks         el1     agrees with ours
warn  clocks         el-two  is +12 s[2J from ours
      → set it
FAIL  reachability   el3     connection refused
      → start it
1 ok, 1 warning, 1 failure
";
        assert_eq!(page(&all), expected);
        assert!(any_failed(&all) && !any_failed(&all[..2]));
        let document = document(&all);
        assert_eq!(
            (&document["ok"], &document["warnings"], &document["failures"]),
            (&json!(1), &json!(1), &json!(1))
        );
        assert_eq!(document["findings"][0]["remedy"], Value::Null);
        assert_eq!(
            document["findings"][2],
            json!({"area": "reachability", "weight": "fail", "of": "el3", "what": "connection refused", "remedy": "start it"})
        );
    }
}
