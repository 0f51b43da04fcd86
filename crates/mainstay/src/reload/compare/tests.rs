#![allow(clippy::unwrap_used)]
use std::path::Path;

use mainstay_settings::{File, Flags, Key, Kind, Section, Sources, resolve};

use super::*;

static RULE: Section = Section::nested(
    "role.rule",
    "A rule",
    &[
        Key::new("rate", Kind::Integer { min: 1, max: 99 }, "Rate").live(),
        Key::new("keys", Kind::List(&Kind::Text), "Keys").sensitive().live(),
        Key::new("listen", Kind::Text, "Where"),
    ],
);
static ROLE: Section = Section::role(
    "role",
    "A role",
    &[
        Key::new("name", Kind::Text, "Name").default("role"),
        Key::new("listen", Kind::Text, "Where").default("127.0.0.1:1"),
        Key::new("wait", Kind::Duration, "Wait").default("1s").live(),
        Key::new("nodes", Kind::List(&Kind::Text), "Nodes").live(),
        Key::new("password", Kind::Text, "Password").sensitive().live(),
        Key::new("rule", Kind::Tables(&RULE), "Rules").live(),
    ],
);

fn roles(text: &str) -> Vec<Settings> {
    let file = File::parse(Path::new("m.toml"), text).unwrap();
    let flags = Flags::default();
    let mut problems = Vec::new();
    let resolved = file.instances("role").into_iter().map(|instance| {
        let sources = Sources { file: Some(instance), variables: None, fallbacks: &[], flags: &flags };
        resolve(&ROLE, &sources, &mut problems)
    });
    let resolved = resolved.collect();
    assert_eq!(problems, []);
    resolved
}

/// The texts of changes, and the problems, where one role may not take another's place.
fn told(before: &str, now: &str) -> (Vec<String>, Vec<String>) {
    let compared = of(before, now, false);
    (compared.changes.into_iter().map(|change| change.text).collect(), compared.problems)
}

fn of(before: &str, now: &str, can_be_replaced: bool) -> Compared {
    let (before, now) = (roles(before), roles(now));
    let part = |settings| Part {
        kind: "role",
        name: Settings::text(settings, "name").unwrap(),
        settings,
        can_be_replaced,
    };
    let (before, now): (Vec<_>, Vec<_>) = (before.iter().map(part).collect(), now.iter().map(part).collect());
    compare(&[], &[], &before, &now)
}

#[test]
fn what_differs_and_what_of_it_needs_a_restart() {
    for (before, now, changes, problems) in [
        ("[role]", "[role]", &[][..], &[][..]),
        ("[role]\nwait = '1s'", "[role]\nwait = '1000ms'", &[], &[]),
        ("[role]\nwait = '1s'", "# moved\n[role]", &[], &[]),
        ("[role]", "[role]\nwait = '2s'", &["[role] wait: 2s (was 1s)"], &[]),
        ("[role]\nwait = '2s'", "[role]", &["[role] wait: 1s (was 2s)"], &[]),
        (
            "[role]\nnodes = ['http://u:geheim@a/', 'http://b']",
            "[role]\nnodes = ['http://b', 'http://c?token=geheim']",
            &["[role] nodes: + http://c?token=<set>, - http://<set>@a/"],
            &[],
        ),
        (
            "[role]\nnodes = ['a', 'b']",
            "[role]\nnodes = ['b', 'a']",
            &["[role] nodes: in another order"],
            &[],
        ),
        (
            "[role]\nnodes = ['http://u:geheim@a']",
            "[role]\nnodes = ['http://u:geheimer@a']",
            &["[role] nodes: other values, of which what is secret isn't shown"],
            &[],
        ),
        (
            "[role]\npassword = 'geheim'",
            "[role]\npassword = 'geheimer'",
            &["[role] password: another value (<set>)"],
            &[],
        ),
        ("[role]\nnodes = ['a']", "[role]", &["[role] nodes: - a"], &[]),
        (
            "[role]",
            "[role]\nlisten = '127.0.0.1:2'",
            &["[role] listen: 127.0.0.1:2 (was 127.0.0.1:1)"],
            &["m.toml:2: [role] listen: needs a restart (was 127.0.0.1:1, would be 127.0.0.1:2)"],
        ),
        (
            "[role]\n[[role.rule]]\nrate = 1",
            "[role]\n[[role.rule]]\nrate = 2\nkeys = ['geheim']",
            &["[[role.rule]] rate: 2 (was 1)", "[[role.rule]] keys: another value (<set>)"],
            &[],
        ),
        (
            "[role]\n[[role.rule]]\n[[role.rule]]",
            "[role]\n[[role.rule]]\n[[role.rule]]\nlisten = 'x'",
            &["[[role.rule]] listen (table 2): x (was not set)"],
            &["m.toml:4: [[role.rule]] listen (table 2): needs a restart (was not set, would be x)"],
        ),
        ("[role]", "[role]\n[[role.rule]]\nrate = 2", &["[role] rule: 1 table (was 0 tables)"], &[]),
        (
            "[role]",
            "[role]\nname = 'other'",
            &["[role] name: other (was role)"],
            &["m.toml:2: [role] name: needs a restart (was role, would be other)"],
        ),
        (
            "[[role]]\nname = 'a'\n[[role]]\nname = 'b'",
            "[[role]]\nname = 'b'\nwait = '3s'\n[[role]]\nname = 'a'",
            &["[role] wait: 3s (was 1s)"],
            &[],
        ),
        (
            "[[role]]\nname = 'a'",
            "[[role]]\nname = 'a'\n[[role]]\nname = 'b'",
            &["[role] b: one role more"],
            &[],
        ),
        (
            "[[role]]\nname = 'a'\n[[role]]\nname = 'b'",
            "[[role]]\nname = 'b'",
            &["[role] a: one role less, which ends what it has"],
            &[],
        ),
    ] {
        let (told_changes, told_problems) = told(before, now);
        assert_eq!(told_changes, changes, "{before:?} to {now:?}");
        assert_eq!(told_problems, problems, "{before:?} to {now:?}");
        assert!(!format!("{told_changes:?}{told_problems:?}").contains("geheim"));
    }
}

#[test]
fn roles_come_and_go_and_take_the_place_of_others() {
    use Fate::{New, Replaces, Stays};
    let two = "[[role]]\nname = 'a'\n[[role]]\nname = 'b'";
    for (before, now, fates, gone, last) in [
        ("[role]", "[role]", &[Stays(0)][..], &[][..], None),
        ("[role]", "[role]\nwait = '2s'", &[Stays(0)], &[], Some("[role] wait: 2s (was 1s)")),
        (
            "[role]",
            "[role]\nwait = '2s'\nlisten = 'x'",
            &[Replaces(0)],
            &[],
            Some("[role] role: started anew, the one before ends what it has"),
        ),
        (
            "[role]",
            "[role]\nname = 'a'",
            &[Replaces(0)],
            &[],
            Some("[role] a: started anew, the one before ends what it has"),
        ),
        ("[[role]]\nname = 'a'", two, &[Stays(0), New], &[], Some("[role] b: one role more")),
        (
            two,
            "[[role]]\nname = 'b'",
            &[Stays(1)],
            &[0],
            Some("[role] a: one role less, which ends what it has"),
        ),
        // Another one in the place of one of two is that one, renamed.
        (two, "[[role]]\nname = 'c'\n[[role]]\nname = 'a'", &[Replaces(1), Stays(0)], &[], None),
        // Of several nobody knows which is which.
        (two, "[[role]]\nname = 'c'\n[[role]]\nname = 'd'", &[New, New], &[0, 1], None),
        (two, "", &[], &[0, 1], None),
    ] {
        let compared = of(before, now, true);
        assert_eq!(
            (compared.fates.as_slice(), compared.gone.as_slice()),
            (fates, gone),
            "{before:?} to {now:?}"
        );
        assert_eq!(compared.problems, [""; 0]);
        if let Some(last) = last {
            assert_eq!(compared.changes.last().unwrap().text, last);
        }
    }
    // What belongs to no role can't be replaced.
    let (was, is) = (roles("[role]"), roles("[role]\nlisten = 'x'"));
    let compared = compare(&was, &is, &[], &[]);
    assert_eq!(compared.problems, ["m.toml:2: [role] listen: needs a restart (was 127.0.0.1:1, would be x)"]);
}
