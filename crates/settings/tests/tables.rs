//! Tables inside a section: `[[rpc.rule]]`.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use mainstay_settings::{
    File, Flags, Key, Kind, Problem, Section, Settings, Sources, Variables, check_file, check_variables,
    describe_json, describe_toml, resolve, schema,
};

static RULE: Section = Section::nested(
    "rpc.rule",
    "A rule",
    &[
        Key::new("method", Kind::List(&Kind::Text), "Methods"),
        Key::new("lane", Kind::OneOf(&["high", "low"]), "Lane").required(),
        Key::new("keys", Kind::List(&Kind::Text), "API keys").sensitive(),
        Key::new("burst", Kind::Integer { min: 1, max: 9 }, "Burst").default("3"),
    ],
);
static RPC: Section = Section::role(
    "rpc",
    "A role",
    &[
        Key::new("tries", Kind::Integer { min: 1, max: 9 }, "Tries").default("3"),
        Key::new("rule", Kind::Tables(&RULE), "What applies to some requests"),
    ],
);

fn rpc(text: &str) -> (Settings, Vec<String>) {
    let file = File::parse(Path::new("mainstay.toml"), text).unwrap();
    let mut problems = Vec::new();
    check_file(&file, &[&RPC], &mut problems);
    let flags = Flags::default();
    let variables = Variables::new();
    let sources = Sources {
        file: file.instances("rpc").first().copied(),
        variables: Some(&variables),
        fallbacks: &[],
        flags: &flags,
    };
    let settings = resolve(&RPC, &sources, &mut problems);
    (settings, problems.iter().map(Problem::to_string).collect())
}

#[test]
fn they_come_in_the_order_of_the_file_each_with_its_defaults() {
    let (settings, problems) = rpc(
        "[rpc]\ntries = 2\n[[rpc.rule]]\nmethod = \"a,b\"\nlane = \"high\"\nburst = 1\n[[rpc.rule]]\nlane = \"low\"\n",
    );
    assert_eq!(problems, [""; 0]);
    let [first, second] = settings.tables("rule") else { panic!("two of them") };
    assert_eq!(first.list("method"), ["a", "b"]);
    assert_eq!((first.integer("burst"), second.integer("burst")), (Some(1), Some(3)));
    assert_eq!(second.text("lane"), Some("low"));
    assert_eq!(second.origin("lane").to_string(), "mainstay.toml:8");
    assert_eq!(settings.integer("tries"), Some(2));
}

#[test]
fn none_is_none_and_several_roles_have_their_own() {
    assert!(rpc("[rpc]\n").0.tables("rule").is_empty());
    let text = "[[rpc]]\n[[rpc.rule]]\nlane = \"high\"\n[[rpc]]\n";
    let file = File::parse(Path::new("mainstay.toml"), text).unwrap();
    let counts: Vec<usize> = file
        .instances("rpc")
        .into_iter()
        .map(|instance| {
            let sources = Sources { file: Some(instance), ..Sources::default() };
            resolve(&RPC, &sources, &mut Vec::new()).tables("rule").len()
        })
        .collect();
    assert_eq!(counts, [1, 0]);
}

#[test]
fn what_is_wrong_inside_is_told_with_its_line() {
    for (text, wanted) in [
        (
            "[rpc]\n[[rpc.rule]]\nlane = \"hihg\"\n",
            "mainstay.toml:3: [[rpc.rule]] lane: \"hihg\" is not one of \"high\", \"low\", did you mean \"high\"?",
        ),
        (
            "[rpc]\n[[rpc.rule]]\nlane = \"low\"\nmehtod = \"x\"\n",
            "mainstay.toml:4: [[rpc.rule]] mehtod: unknown key, did you mean `method`?",
        ),
        ("[rpc]\n[[rpc.rule]]\n", "mainstay.toml:2: [[rpc.rule]] lane: is missing"),
        ("[rpc]\nrule = 5\n", "mainstay.toml:2: [rpc] rule: expected tables, each under [[rpc.rule]]"),
        ("[rpc]\nrule = [5]\n", "mainstay.toml:2: [rpc] rule: expected tables, each under [[rpc.rule]]"),
        ("[rpc]\n[[rpc.rules]]\n", "mainstay.toml:2: [rpc] rules: unknown key, did you mean `rule`?"),
    ] {
        assert_eq!(rpc(text).1, [wanted], "{text}");
    }
}

#[test]
fn no_flag_and_no_variable_gives_one() {
    assert_eq!(RPC.plain_keys().map(|key| key.name).collect::<Vec<_>>(), ["tries"]);
    assert_eq!(RULE.plain_keys().count(), 0);
    let variables: Variables = [("MAINSTAY_RPC_RULE".to_owned(), "x".to_owned())].into();
    let mut problems = Vec::new();
    check_variables(&variables, &[(&RPC, 1)], &[], &mut problems);
    assert_eq!(problems.len(), 1);
}

#[test]
fn a_role_that_looks_further_does_not_repeat_what_was_told() {
    let (settings, told) = rpc("[rpc]\n[[rpc.rule]]\nlane = \"x\"\n[[rpc.rule]]\nlane = \"low\"\n");
    assert_eq!(told.len(), 1);
    let mut problems = Vec::new();
    let built = settings.validate(&mut problems, |settings, problems| {
        for table in settings.tables("rule") {
            if table.text("lane") != Some("high") {
                problems.push(table.problem("lane", "has to be high"));
            }
        }
        Some(())
    });
    assert_eq!(built, None);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["mainstay.toml:5: [[rpc.rule]] lane: has to be high"]);
}

#[test]
fn they_are_listed_and_in_the_schema() {
    let (settings, _) = rpc("[rpc]\n[[rpc.rule]]\nlane = \"low\"\nkeys = [\"hunter2\"]\n");
    let text = describe_toml(&settings, false);
    assert!(text.starts_with("[rpc]\ntries = 3 # default\n\n[[rpc.rule]]\n"), "{text}");
    assert!(text.contains("lane = \"low\" # mainstay.toml:3"), "{text}");
    assert!(!text.contains("hunter2"));
    assert!(File::parse(Path::new("again.toml"), &text).is_ok(), "{text}");
    let json = describe_json(&settings);
    assert_eq!(json["rule"][0]["lane"]["value"], "low");
    assert!(!json.to_string().contains("hunter2"));
    let schema = schema("all", &[&RPC]);
    let rule = &schema["$defs"]["rpc"]["properties"]["rule"]["anyOf"];
    assert_eq!(rule[0]["items"]["$ref"], "#/$defs/rpc.rule", "several");
    assert_eq!(rule[1]["$ref"], "#/$defs/rpc.rule", "or one");
    assert_eq!(schema["$defs"]["rpc.rule"]["additionalProperties"], false);
    let description = &schema["$defs"]["rpc.rule"]["properties"]["lane"]["description"];
    assert_eq!(description, "Required. Lane");
}
