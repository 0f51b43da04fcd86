//! What `mainstay doctor` says of real geths: of two that are alike, and of one that is on another network of the same chain id.

use std::time::Duration;

use mainstay_e2e::execution::{Execution, Genesis};
use mainstay_e2e::{Lab, Result, ensure, fail, geth, program, scenario};
use serde_json::Value;

#[test]
fn it_knows_real_geths() {
    scenario("doctor", Duration::from_secs(240), async |lab| {
        let a = geth::start(lab, "a", Genesis::Osaka).await?;
        let b = geth::start(lab, "b", Genesis::Osaka).await?;
        let c = geth::start(lab, "c", Genesis::Shanghai).await?;

        let well = doctor(lab, &[("a", &a), ("b", &b)])?;
        ensure!(well["failures"] == 0, "of two that are alike: {well:#}");
        // Whatever geth it is, it says what it is, offers methods, and knows its fork.
        for (area, part) in [
            ("reachability", "chain 1337"),
            ("versions", "eth"),
            ("capabilities", "the same "),
            ("forks", "fork 0x"),
        ] {
            let found = told(&well, area);
            ensure!(found.contains(part), "{part:?} is not among what is told of {area}: {found}");
        }

        let odd = doctor(lab, &[("a", &a), ("b", &b), ("c", &c)])?;
        let found = told(&odd, "forks");
        ensure!(found.contains("fail engine c: its first block is 0x"), "the odd one isn't told: {found}");
        Ok(())
    });
}

/// The findings as JSON.
fn doctor(lab: &Lab, nodes: &[(&str, &Execution)]) -> Result<Value> {
    let urls: Vec<String> =
        nodes.iter().map(|(name, el)| format!("{}#name={name}", el.endpoint().url())).collect();
    let secret = lab.secret.path().display().to_string();
    let own = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let nodes = ["--nodes", &urls.join(","), "--jwt-secret", &secret];
    let done = program::run(&[&["doctor", "engine", "--json"], &nodes[..], &own].concat())?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    match serde_json::from_str(&text) {
        Ok(found) => Ok(found),
        Err(why) => fail!("{why}: {text}{}", String::from_utf8_lossy(&done.stderr)),
    }
}

/// Those of an area, a line each.
fn told(found: &Value, area: &str) -> String {
    let all = found["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |one: &Value| {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}\n", text("weight"), text("of"), text("what"))
    };
    all.iter().filter(|one| one["area"] == area).map(line).collect()
}
