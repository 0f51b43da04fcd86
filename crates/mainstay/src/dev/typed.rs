//! What a person types while `mainstay dev` runs.

use mainstay_engine::Handle;
use mainstay_engine::Operated as _;
use mainstay_sim::Control;
use mainstay_sim::control::HELP;

/// The commands beside those that break nodes.
const OURS: &str = "\
cordon NODE      the engine takes its vote away; it still gets every call
uncordon NODE    it votes again
status           how every node is, and what the engine makes of it
quit             the end";

/// What comes of a line.
pub(super) enum Typed {
    /// To be shown; empty for an empty line.
    Answer(String),
    /// The end was asked for.
    Quit,
}

/// Carries out a line.
pub(super) fn line(text: &str, control: &Control, engine: &Handle) -> Typed {
    let words: Vec<&str> = text.split_whitespace().collect();
    let answer = match words.as_slice() {
        ["quit" | "exit"] => return Typed::Quit,
        ["help" | "?"] => format!("{HELP}\n{OURS}"),
        ["status"] => status(control, engine),
        [verb @ ("cordon" | "uncordon"), name] => hold(verb, name, engine),
        [verb @ ("cordon" | "uncordon"), ..] => format!("which node? {verb} el1, for example"),
        _ => control.line(text),
    };
    Typed::Answer(answer)
}

fn hold(verb: &str, name: &str, engine: &Handle) -> String {
    let done = if verb == "cordon" { engine.cordon(name) } else { engine.uncordon(name) };
    match done {
        Ok(()) => format!("{name}: {verb}ed"),
        Err(refused) => refused.to_string(),
    }
}

fn status(control: &Control, engine: &Handle) -> String {
    let snapshot = engine.snapshot();
    let states = control.states();
    let mut lines = Vec::new();
    for node in &snapshot.nodes {
        let state = states.iter().find(|state| state.name == node.name);
        let fault = state.and_then(|state| state.fault.as_deref()).unwrap_or("well");
        let head = state.map_or(0, |state| state.head);
        let primary = if snapshot.primary.as_ref() == Some(&node.name) { ", primary" } else { "" };
        let (name, reason, standing) = (&node.name, &node.reason, node.standing);
        lines.push(format!("{name}  {fault}, head {head}; the engine says: {reason}, {standing}{primary}"));
    }
    lines.join("\n")
}
