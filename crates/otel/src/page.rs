//! A page of metrics as Prometheus reads it (OpenMetrics 1.0), taken apart. Pure.
//!
//! The registry is written by one crate, in one way, and tells what is in it in this form only; its other form wants a compiler for protocol
//! buffers. What isn't understood is left out rather than told wrong.

use std::iter::Peekable;
use std::str::Chars;

/// What samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows only; its sample ends with `_total`.
    Counter,
    /// Any value.
    Gauge,
    /// Buckets that count everything up to a bound, `_sum` and `_count`.
    Histogram,
    /// 1, what counts is in the labels; its sample ends with `_info`.
    Info,
}

/// Name and value.
pub type Label = (String, String);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The name as it stands there.
    pub name: String,
    /// In the order of the line.
    pub labels: Vec<Label>,
    /// As it stands there: whole numbers are told whole.
    pub value: String,
}

/// Samples that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, without the samples' endings.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it tells, for people.
    pub help: String,
    /// `seconds`; empty if it has none.
    pub unit: String,
    /// In the page's order.
    pub samples: Vec<Sample>,
}

/// Takes a page apart, up to its `# EOF`.
#[must_use]
pub fn read(page: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    // Between `# HELP` and `# TYPE`.
    let mut help = (String::new(), String::new());
    let mut is_known = false;
    for line in page.lines() {
        if let Some(told) = line.strip_prefix("# HELP ") {
            let (name, text) = told.split_once(' ').unwrap_or((told, ""));
            help = (name.to_owned(), unescape(text));
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap_or((told, ""));
            let kind = kind_of(kind);
            is_known = kind.is_some();
            let Some(kind) = kind else { continue };
            let help = if help.0 == name { std::mem::take(&mut help.1) } else { String::new() };
            let (name, unit, samples) = (name.to_owned(), String::new(), Vec::new());
            families.push(Family { name, kind, help, unit, samples });
        } else if let Some(told) = line.strip_prefix("# UNIT ") {
            if let (Some(family), Some((name, unit)), true) =
                (families.last_mut(), told.split_once(' '), is_known)
                && family.name == name
            {
                unit.clone_into(&mut family.unit);
            }
        } else if line == "# EOF" {
            break;
        } else if let (Some(family), Some(sample), true) = (families.last_mut(), sample(line), is_known) {
            family.samples.push(sample);
        }
    }
    families
}

fn kind_of(word: &str) -> Option<Kind> {
    Some(match word {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "info" => Kind::Info,
        _ => return None,
    })
}

/// `name{label="value"} 1 # {trace_id="…"} 2`: an exemplar, and a time, are left out.
fn sample(line: &str) -> Option<Sample> {
    let mut chars = line.chars().peekable();
    let name = word(&mut chars, |c| c != '{' && c != ' ');
    let mut labels = Vec::new();
    if chars.next()? == '{' {
        while chars.peek()? != &'}' {
            labels.push(label(&mut chars)?);
            if chars.peek() == Some(&',') {
                chars.next();
            }
        }
        chars.next();
        if chars.next()? != ' ' {
            return None;
        }
    }
    let value = word(&mut chars, |c| c != ' ');
    (!name.is_empty() && !value.is_empty()).then_some(Sample { name, labels, value })
}

fn label(chars: &mut Peekable<Chars<'_>>) -> Option<Label> {
    let name = word(chars, |c| c != '=');
    if (chars.next()?, chars.next()?) != ('=', '"') {
        return None;
    }
    let mut value = String::new();
    loop {
        match chars.next()? {
            '"' => return Some((name, value)),
            '\\' => value.push(unescaped(chars.next()?)),
            other => value.push(other),
        }
    }
}

fn word(chars: &mut Peekable<Chars<'_>>, mut is_part: impl FnMut(char) -> bool) -> String {
    let mut word = String::new();
    while let Some(char) = chars.next_if(|char| is_part(*char)) {
        word.push(char);
    }
    word
}

fn unescape(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::with_capacity(text.len());
    while let Some(char) = chars.next() {
        match char {
            '\\' => out.extend(chars.next().map(unescaped)),
            other => out.push(other),
        }
    }
    out
}

fn unescaped(char: char) -> char {
    if char == 'n' { '\n' } else { char }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Labelled;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::{Registry, Unit};
    use proptest::prelude::*;

    use super::*;

    fn sample(line: &str) -> Option<(String, Vec<Label>, String)> {
        super::sample(line).map(|sample| (sample.name, sample.labels, sample.value))
    }

    #[test]
    fn lines_of_samples() {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (line, labels, value) in [
            ("a 1", vec![], "1"),
            ("a{} 1.5", vec![], "1.5"),
            (r#"a{b="c"} -1"#, vec![label("b", "c")], "-1"),
            (
                r#"a{b="c, } d=\"e\"",f="\\n\n"} 1"#,
                vec![label("b", "c, } d=\"e\""), label("f", "\\n\n")],
                "1",
            ),
            (r#"a{le="+Inf"} 3 # {trace="x"} 2"#, vec![label("le", "+Inf")], "3"),
        ] {
            assert_eq!(sample(line), Some(("a".to_owned(), labels, value.to_owned())), "{line}");
        }
        for wrong in
            ["", "a", "a{", "a{b", "a{b=", r#"a{b="c"#, r#"a{b="c"}"#, r#"a{b="c"}1"#, " 1", "a{b=c} 1"]
        {
            assert_eq!(sample(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_page_is_its_families() {
        let mut registry = Registry::default();
        let labelled = Labelled::<[(&'static str, String); 1], Counter>::default();
        labelled.get_or_create(&[("node", "a\"b".to_owned())]).inc_by(7);
        registry.register("asked", "Requests", labelled);
        let gauge = Gauge::<i64>::default();
        gauge.set(-3);
        registry.register_with_unit("wait", "How long", Unit::Seconds, gauge);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        let families = read(&page);
        let told: Vec<_> = families
            .iter()
            .map(|f| (f.name.as_str(), f.kind, f.help.as_str(), f.unit.as_str(), f.samples.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("asked", Kind::Counter, "Requests.", "", 1),
                ("wait_seconds", Kind::Gauge, "How long.", "seconds", 1)
            ],
            "{page}"
        );
        let asked = &families[0].samples[0];
        assert_eq!((asked.name.as_str(), asked.value.as_str()), ("asked_total", "7"));
        assert_eq!(asked.labels, [("node".to_owned(), "a\"b".to_owned())]);
        assert_eq!(families[1].samples[0].value, "-3");
    }

    #[test]
    fn what_is_of_no_known_kind_is_left_out() {
        let page = "# TYPE a summary\na{quantile=\"1\"} 2\n# TYPE b gauge\nb 1\nnonsense\n# EOF\nb 2\n";
        let families = read(page);
        assert_eq!(families.len(), 1);
        assert_eq!((families[0].name.as_str(), families[0].samples.len()), ("b", 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(?s)[ -~\n]{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn label_values_come_back(value in "\\PC{0,20}") {
            let labelled = Labelled::<[(&'static str, String); 1], Counter>::default();
            labelled.get_or_create(&[("of", value.clone())]).inc();
            let mut registry = Registry::default();
            registry.register("a", "A", labelled);
            let mut page = String::new();
            encode(&mut page, &registry).unwrap();
            let families = read(&page);
            prop_assert_eq!(&families[0].samples[0].labels[0].1, &value);
        }
    }
}
