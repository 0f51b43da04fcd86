//! Any text as a config file: nothing panics, every problem is one line of text that names a line of the file, and what
//! was resolved can be asked and shown.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mainstay_engine::SECTION;
use mainstay_node::NodeSpec;
use mainstay_settings::{
    File, Key, Kind, Origin, Problem, Section, Settings, Sources, check_file, describe_json,
    describe_toml, resolve, sort_problems,
};

const PATH: &str = "mainstay.toml";

/// A key of every kind that the engine's table may not have.
static TOP: Section = Section::top(
    "The whole process",
    &[
        Key::new("shutdown_grace", Kind::Duration, "A duration").default("10s"),
        Key::new("url", Kind::Url, "A URL"),
        Key::new("token", Kind::Text, "A secret").sensitive(),
        Key::new("paths", Kind::List(&Kind::Path), "Paths"),
        Key::new("listen", Kind::Or(&Kind::Address, &["off"]), "An address"),
    ],
);

fuzz_target!(|text: &str| {
    let lines = text.matches('\n').count() + 1;
    let file = match File::parse(Path::new(PATH), text) {
        Ok(file) => file,
        Err(problems) => {
            assert!(!problems.is_empty());
            check(&problems, lines);
            return;
        }
    };
    let mut problems = Vec::new();
    check_file(&file, &[&TOP, &SECTION], &mut problems);
    check(&problems, lines);

    let instances = file.instances(SECTION.name);
    for (section, instance) in
        [(&TOP, file.top())].into_iter().chain(instances.iter().map(|i| (&SECTION, *i)))
    {
        let mut problems = Vec::new();
        let sources =
            Sources { file: Some(instance), ..Sources::default() };
        let settings = resolve(section, &sources, &mut problems);
        sort_problems(&mut problems);
        // The top has no line, so what is missing there has none either; nothing of it is required.
        check(&problems, lines);
        asked(&settings, lines);
        let toml = describe_toml(&settings, instances.len() > 1);
        if let Err(problems) = File::parse(Path::new(PATH), &toml) {
            panic!("{problems:?} in {toml}");
        }
        assert!(describe_json(&settings).as_object().is_some_and(|keys| keys.len() == section.keys.len()));
    }
});

fn check(problems: &[Problem], lines: usize) {
    for problem in problems {
        on_a_line(&problem.origin, lines);
        assert!(!problem.what.is_empty());
        let told = problem.to_string();
        assert!(told.starts_with(&format!("{PATH}:")), "{told}");
        assert!(!told.chars().any(char::is_control), "not one line of text: {told:?}");
    }
}

fn on_a_line(origin: &Origin, lines: usize) {
    match origin {
        Origin::File { line, .. } => assert!((1..=lines).contains(line), "line {line} of {lines}"),
        other => panic!("{other:?} is not in the file"),
    }
}

/// Every getter of every key, whatever its kind.
fn asked(settings: &Settings, lines: usize) {
    for key in settings.section().keys {
        let name = key.name;
        let _ = (settings.text(name), settings.path(name), settings.address(name), settings.integer(name));
        let _ = (settings.duration(name), settings.size(name), settings.switch(name), settings.paths(name));
        if let Kind::Number { min, max } = key.kind {
            assert!(settings.number(name).is_none_or(|number| (min..=max).contains(&number)));
        }
        if settings.is_set(name) {
            on_a_line(settings.origin(name), lines);
            for (i, item) in settings.list(name).iter().enumerate() {
                on_a_line(settings.item_origin(name, i), lines);
                let _ = NodeSpec::parse(item);
            }
        }
    }
}
