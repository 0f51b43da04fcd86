//! `mainstay status`: what it says of the process, before one that runs.
#![allow(clippy::unwrap_used)]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use support::Place;
use support::http::eventually;

fn config(more: &str) -> String {
    format!(
        "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"http://127.0.0.1:1\"]\n{more}"
    )
}

#[test]
fn it_says_since_when_the_process_runs_and_what_became_of_the_last_reload() {
    let place = Place::new();
    place.file("mainstay.toml", &config(""));
    let mut running = place.start(&["run"], &[]);
    let admin = running.address("admin");
    let page = || place.run(&["status", "--admin-listen", &admin], &[]).out;
    let process = || -> Value {
        let told = place.run(&["status", "--json", "--admin-listen", &admin], &[]);
        serde_json::from_str::<Value>(&told.out).unwrap()["process"].clone()
    };
    let first = page();
    let lines: Vec<&str> = first.lines().collect();
    assert!(
        lines[0].starts_with(concat!("mainstay ", env!("CARGO_PKG_VERSION"), ", serving, up for ")),
        "{first}"
    );
    assert!(lines[0].contains("s, since 20") && lines[0].ends_with('Z'), "{first}");
    assert_eq!(lines[1..3], ["settings as they were read at the start", ""], "{first}");
    assert_eq!(process()["reload"], Value::Null);
    let started = process()["started_at_ms"].clone();

    place.file("mainstay.toml", &config("retries_mx = 1\n"));
    running.signal(Signal::HUP);
    eventually("a refusal is shown, and which line is wrong", || {
        let page = page();
        let lines: Vec<&str> = page.lines().collect();
        lines[1].starts_with("RELOAD REFUSED ")
            && lines[1].ends_with(", by SIGHUP, the settings before hold:")
            && lines[2].starts_with("      mainstay.toml:8: [rpc] retries_mx: unknown key")
    });
    let refused = process()["reload"].clone();
    assert_eq!((&refused["outcome"], &refused["number"]), (&"wrong".into(), &1.into()));
    assert!(refused["problems"][0].as_str().unwrap().contains("retries_mx"), "{refused}");

    place.file("mainstay.toml", &config("retries_max = 1\n"));
    running.signal(Signal::HUP);
    eventually("it is applied then", || {
        let page = page();
        page.contains("\nsettings reloaded ") && page.contains(", by SIGHUP: 1 change\n\nrpc rpc: ")
    });
    let applied = process();
    assert_eq!((&applied["reload"]["outcome"], &applied["reload"]["number"]), (&"applied".into(), &2.into()));
    assert_eq!(applied["started_at_ms"], started, "it is the same process");
}
