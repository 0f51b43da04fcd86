//! Settings read anew while clients are served: what differs holds, nobody notices, and what is wrong changes nothing.
#![allow(clippy::unwrap_used)]

#[path = "reload/bed.rs"]
mod bed;
mod lab;
#[path = "reload/load.rs"]
mod load;
mod support;

use bed::{Bed, CALL, COMMON, beacon, engine, rpc, sync, token};
use lab::Lab;
use load::Load;
use mainstay_sim::{BeaconServer, BeaconState, Family};
use mainstay_wire::jwt::{Claims, Secret, sign};
use rustix::process::Signal;
use serde_json::Value;
use support::Place;
use support::http::{Node, ask, eventually};

#[test]
fn rpc_nodes_and_limits_change_under_load() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let (mut bed, address) = Bed::start(Place::new(), &rpc(&[&one], ""));
    let load = Load::start(&address, CALL.as_bytes(), String::new);
    load.goes_on();
    assert_eq!(two.asked(), 0);

    bed.reload(&rpc(&[&one, &two], ""));
    eventually("the new node gets requests", || two.asked() > 10);

    bed.reload(&rpc(&[&two], "retries_max = 2\n"));
    bed.running.seen.iter().find(|line| line.contains("retries_max: 2 (was 3)")).unwrap();
    load.goes_on();
    let asked = one.asked();
    load.goes_on();
    assert_eq!(one.asked(), asked, "it is not asked any more");

    // A limit, of requests that the load doesn't make.
    bed.reload(&rpc(&[&two], "[[rpc.rule]]\npath = [\"/sim\"]\nrate = 1\n"));
    assert_eq!(ask(&address, "POST", "/sim", CALL).status, 200);
    assert_eq!(ask(&address, "POST", "/sim", CALL).status, 429);
    // A rule that stays keeps its count.
    bed.reload(&rpc(&[&two, &one], "[[rpc.rule]]\npath = [\"/sim\"]\nrate = 1\n"));
    let limited = (0..5).filter(|_| ask(&address, "POST", "/sim", CALL).status == 429).count();
    assert!(limited >= 4, "{limited}");
    load.goes_on();
    load.end();
}

#[test]
fn what_the_api_did_to_nodes_that_the_file_leaves_alone_stays() {
    let nodes = ["one", "two", "three", "four"].map(Node::start);
    let [one, two, three, four] = &nodes;
    let (mut bed, address) = Bed::start(Place::new(), &rpc(&[one, two], ""));
    let name = |node: &Node| node.url.strip_prefix("http://").unwrap().to_owned();
    let names = |bed: &Bed| -> Vec<String> {
        let nodes = bed.get("/api/v1/rpc/rpc/nodes");
        let mut names: Vec<String> = nodes["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let sorted = |of: &[&Node]| {
        let mut names: Vec<String> = of.iter().map(|node| name(node)).collect();
        names.sort();
        names
    };
    let uri = format!(r#"{{"uri":"{}"}}"#, three.url);
    ask(&bed.admin, "POST", "/api/v1/rpc/rpc/nodes", &uri).fine();
    ask(&bed.admin, "DELETE", &format!("/api/v1/rpc/rpc/nodes/{}", name(two)), "").fine();
    assert_eq!(names(&bed), sorted(&[one, three]));
    bed.reload(&rpc(&[one, two, four], ""));
    assert_eq!(names(&bed), sorted(&[one, three, four]), "two was removed through the API");
    bed.reload(&rpc(&[two, four], ""));
    assert_eq!(names(&bed), sorted(&[three, four]));
    assert_eq!(ask(&address, "POST", "/", CALL).status, 200);
}

#[test]
fn engine_nodes_and_limits_change_under_load() {
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let lab = Lab::with_secret(3, Some(&secret));
    let (mut bed, address) = Bed::start(Place::new(), &engine(&lab, &[0, 1], ""));
    let block = lab.chain.tip().clone();
    let voted = lab::head(&block);
    let load = Load::start(&address, &voted, token);
    load.goes_on();
    let family = Family::ForkchoiceUpdated;
    assert_eq!(lab.els[2].count(family), 0);

    bed.reload(&engine(&lab, &[0, 1, 2], "majority = 0.9\n"));
    eventually("the new node gets voted calls", || lab.els[2].count(family) > 10);
    assert_eq!(bed.get("/api/v1/engine/engine")["state"]["majority"], 0.9);

    bed.reload(&engine(&lab, &[2, 1], "majority = 0.9\n"));
    load.goes_on();
    let asked = lab.els[0].count(family);
    load.goes_on();
    assert_eq!(lab.els[0].count(family), asked, "it is not called any more");
    let nodes = bed.get("/api/v1/engine/engine/nodes");
    let names: Vec<&str> =
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["el3", "el2"], "in the file's order");

    // All nodes at once, while calls are under way.
    bed.reload(&engine(&lab, &[0], ""));
    eventually("the new node gets voted calls", || lab.els[0].count(family) > asked + 10);
    // A node's own options: it stays, with all that is known of it.
    let before = bed.get("/api/v1/engine/engine/nodes")["nodes"][0]["since_seconds"].as_u64().unwrap();
    let tuned = engine(&lab, &[0], "").replace("#name=el1", "#name=el1#tier=backup#timeout=5000");
    bed.reload(&tuned);
    let node = bed.get("/api/v1/engine/engine/nodes")["nodes"][0].clone();
    assert_eq!((node["tier"].as_str(), node["fit"].as_bool()), (Some("backup"), Some(true)));
    assert!(node["since_seconds"].as_u64().unwrap() >= before);
    load.goes_on();
    load.end();
}

#[test]
fn a_wrong_file_changes_nothing_and_says_where() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let good = rpc(&[&one], "");
    let (mut bed, address) = Bed::start(Place::new(), &good);
    let load = Load::start(&address, CALL.as_bytes(), String::new);
    assert_eq!(bed.metric("mainstay_config_last_reload_successful"), 1.0);
    let since = bed.metric("mainstay_config_last_reload_success_timestamp_seconds");
    assert!(since > 1.7e9, "{since}");

    let log = bed.refused(&rpc(&[&one, &two], "retries_mx = 5\n"));
    let told = log.iter().find(|line| line.contains("retries_mx")).unwrap();
    assert!(told.contains("mainstay.toml:10: [rpc] retries_mx: unknown key, did you mean"), "{told}");
    assert_eq!(bed.metric("mainstay_config_last_reload_successful"), 0.0);
    assert_eq!(bed.metric("mainstay_config_last_reload_success_timestamp_seconds"), since);
    let (status, answer) = bed.post();
    assert_eq!(status, 422, "{answer}");
    assert!(answer["error"]["problems"][0].as_str().unwrap().contains("mainstay.toml:10: [rpc] retries_mx"));
    load.goes_on();
    assert_eq!(two.asked(), 0);
    let last = bed.get("/api/v1/status")["reload"].clone();
    assert_eq!((last["outcome"].as_str(), last["number"].as_u64()), (Some("wrong"), Some(2)));

    // The command tells the same.
    let done = bed.place.run(&["reload", "--admin-listen", &bed.admin], &[]);
    assert_eq!(done.status, Some(1));
    assert!(done.err.contains("error: mainstay.toml:10: [rpc] retries_mx: unknown key"), "{}", done.err);

    bed.write(&rpc(&[&one, &two], "retries_max = 5\n"));
    let done = bed.place.run(&["reload", "--admin-listen", &bed.admin], &[]);
    let out = done.fine();
    assert!(out.contains("[rpc] retries_max: 5 (was 3)\n"), "{out}");
    assert!(out.contains(&format!("[rpc] nodes: + {}\n", two.url)), "{out}");
    assert_eq!(bed.metric("mainstay_config_last_reload_successful"), 1.0);
    eventually("the new node gets requests", || two.asked() > 0);
    let (status, answer) = bed.post();
    assert_eq!((status, answer["changes"].as_array().unwrap().len()), (200, 0), "{answer}");
    eventually("it is among the changes", || {
        let changes = bed.get("/api/v1/changes").to_string();
        changes.contains("reload refused, nothing has changed: mainstay.toml:10")
    });
    load.end();
}

#[test]
fn what_needs_a_restart_is_refused_whole_and_secrets_are_not_shown() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let (mut bed, address) = Bed::start(
        Place::new(),
        &rpc(&[&one], "redis_prefix = \"a:\"\n[[rpc.rule]]\nkeys = [\"geheim-eins\"]\nlane = \"high\"\n"),
    );
    let secret = two.url.replace("http://", "http://user:geheim-zwei@");
    let changed =
        rpc(&[&one], "").replace("nodes = [", &format!("redis_prefix = \"b:\"\nnodes = [\"{secret}\", "));
    let changed = format!(
        "{changed}\n[[rpc.rule]]\nkeys = [\"geheim-drei\"]\nlane = \"low\"\n[beacon]\nlisten = \"127.0.0.1:0\"\nbeacon_node = \"http://127.0.0.1:1\"\n"
    );
    let whole = format!(
        "shutdown_grace = \"1s\"\n{}{changed}",
        COMMON.replace("[log]", "metrics_listen = \"127.0.0.1:0\"\n[log]")
    );
    let log = bed.refused_whole(&whole).join("\n");
    for told in [
        "mainstay.toml:1: shutdown_grace: needs a restart (was 10s, would be 1s)",
        "mainstay.toml:4: [admin] metrics_listen: needs a restart (was off, would be 127.0.0.1:0)",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(!log.contains("msg=listening"), "{log}");
    assert_eq!(two.asked(), 0);
    let (status, answer) = bed.post();
    assert_eq!(status, 409);
    let status = bed.get("/api/v1/status").to_string();
    assert!(status.contains("another value (<set>)") && status.contains("://<set>@"), "{status}");
    assert_eq!(bed.get("/api/v1/roles")["roles"].as_array().unwrap().len(), 1);
    for shown in [&log, &answer.to_string(), &status, &bed.get("/api/v1/changes").to_string()] {
        assert!(!shown.contains("geheim"), "{shown}");
    }
    assert_eq!(ask(&address, "POST", "/", CALL).status, 200);
}

#[test]
fn a_role_alone_is_reloaded_by_its_flags_and_its_files() {
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let lab = Lab::with_secret(1, Some(&secret));
    let place = Place::new();
    let url = lab.els[0].url();
    let flags = ["engine", "-n", &url, "-j", "jwt.hex", "-p", "0", "--admin-listen", "127.0.0.1:0"];
    let mut running = place.start(&[&flags[..], &["--log-format", "logfmt"]].concat(), &[]);
    let (address, admin) = (running.address("engine"), running.address("admin"));
    let call = |secret: &str| {
        let secret = Secret::from_hex(&secret.repeat(32)).unwrap();
        let token = sign(&secret, &Claims::at(lab::wall()));
        lab::from(&address, "10.0.0.1", Some(&token), &lab::head(lab.chain.tip())).status
    };
    assert_eq!((call("11"), call("22")), (200, 401));
    place.file("jwt.hex", &"22".repeat(32));
    running.signal(Signal::HUP);
    running.line(&["setting changed: ", "another secret"]);
    running.line(&["msg=reloaded", "changes=1"]);
    assert_eq!((call("11"), call("22")), (401, 200));
    std::fs::remove_file(place.path().join("jwt.hex")).unwrap();
    running.signal(Signal::HUP);
    running.line(&["cannot read the JWT secret jwt.hex"]);
    running.line(&["reload refused"]);
    assert_eq!((call("11"), call("22")), (401, 200));
    assert_eq!(ask(&admin, "GET", "/livez", "").status, 200);
}

#[test]
fn whoever_may_not_change_anything_may_not_reload() {
    let one = Node::start("one");
    let (bed, _) = Bed::start(Place::new(), &rpc(&[&one], ""));
    let proxied = "POST /api/v1/reload HTTP/1.1\r\nx-forwarded-for: 1.2.3.4\r\n";
    assert_eq!(load::raw(&bed.admin, proxied).status, 403);
    assert_eq!(bed.get("/api/v1/status")["reload"], Value::Null);
}

#[test]
fn sync_nodes_and_who_leads_change_under_load() {
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    let lab = Lab::with_secret(3, Some(&secret));
    let (mut bed, address) = Bed::start(Place::new(), &sync(&lab, &[0, 1], ""));
    let load = Load::start(&address, &lab::head(lab.chain.tip()), token);
    load.goes_on();
    let family = Family::ForkchoiceUpdated;
    assert_eq!(lab.els[2].count(family), 0);
    bed.reload(&sync(&lab, &[0, 1, 2], ""));
    eventually("the new node gets calls", || lab.els[2].count(family) > 10);
    bed.reload(&sync(&lab, &[2], "leader_timeout = \"5s\"\nleader_max_lag = 4\n"));
    load.goes_on();
    let asked = [0, 1].map(|el| lab.els[el].count(family));
    load.goes_on();
    assert_eq!([0, 1].map(|el| lab.els[el].count(family)), asked, "they are not called any more");
    load.end();

    // Who was well for 24 s of silence is silent after one.
    let state = |bed: &Bed| bed.get("/api/v1/sync/sync")["state"]["clients"][0]["state"].clone();
    assert_eq!(state(&bed), "well");
    bed.reload(&sync(&lab, &[2], "leader_timeout = \"300ms\"\nleader_max_lag = 4\n"));
    eventually("the silence is told", || state(&bed) == "silent");
}

#[test]
fn beacon_checks_limits_and_nodes_change_under_load() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = |name| runtime.block_on(BeaconServer::start(name, BeaconState::default())).unwrap();
    let (one, two) = (start("one"), start("two"));
    const PATH: &str = "/eth/v1/node/version";
    let (mut bed, address) = Bed::start(Place::new(), &beacon(&one, ""));
    let guard = |bed: &Bed| bed.get("/api/v1/beacon/beacon/nodes")["nodes"][0].clone();
    eventually("the guard opens", || guard(&bed)["fit"] == true);
    let get = |address: &str| format!("GET {PATH} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes();
    let load = Load::sending(&address, get);
    load.goes_on();

    // A check more and other numbers: the guard stays open.
    let own = "[[beacon.check]]\nname = \"fork\"\npath = \"/eth/v1/config/spec\"\n";
    let peers = one.with(|state| state.peers);
    bed.reload(&beacon(&one, &format!("timeout = \"2s\"\nmin_peers = [{peers}]\n{own}")));
    let names = |bed: &Bed| -> Vec<String> {
        guard(bed)["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| check["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&bed), ["syncing", "health", "chain", "peers", "fork", "traffic"]);
    eventually("the new checks are made", || {
        guard(&bed)["checks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["name"] == "traffic" || check["saw"] != "")
    });
    load.goes_on();
    bed.reload(&beacon(&one, ""));
    assert_eq!(names(&bed), ["syncing", "health", "chain", "traffic"]);
    let page = ask(&bed.admin, "GET", "/metrics", "").fine();
    assert!(page.contains("check=\"chain\"") && !page.contains("check=\"fork\""), "{page}");
    load.goes_on();
    load.end();

    // A threshold that the node doesn't reach, and back.
    bed.reload(&beacon(&one, &format!("min_peers = [{}]\n", peers + 1)));
    eventually("the guard closes", || guard(&bed)["reason"].as_str().unwrap().starts_with("peers: "));
    bed.reload(&beacon(&one, &format!("min_peers = [{peers}]\n")));
    eventually("the guard opens", || guard(&bed)["fit"] == true);

    // Another node: asked before anybody is let to it.
    bed.reload(&beacon(&two, ""));
    eventually("the guard opens", || guard(&bed)["fit"] == true);
    assert!(two.count("/eth/v1/node/syncing") > 0);
    assert_eq!(load::raw(&address, &format!("GET {PATH} HTTP/1.1\r\n")).status, 200);
    assert_eq!((one.count(PATH) > 0, two.count(PATH)), (true, 1));

    let renamed = beacon(&two, "").replace(&two.url(), &format!("{}#name=other", two.url()));
    let log = bed.refused(&renamed).join("\n");
    assert!(log.contains("a guard's name: needs a restart (was beacon-1, would be other)"), "{log}");
}

/// An outer peer that accepts, and what has been sent to it.
struct Outer {
    address: String,
    legs: std::sync::mpsc::Receiver<std::net::TcpStream>,
}

impl Outer {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, legs) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if tell.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, legs }
    }

    fn leg(&self) -> std::net::TcpStream {
        let leg = self.legs.recv_timeout(support::SOON).unwrap();
        leg.set_read_timeout(Some(support::SOON)).unwrap();
        leg
    }
}

fn relay(outer: &[&Outer], more: &str) -> String {
    let outer: Vec<&str> = outer.iter().map(|outer| outer.address.as_str()).collect();
    format!("[relay]\nlisten = \"127.0.0.1:0\"\nproducer = \"prodx\"\nouter = {outer:?}\n{more}")
}

/// A frame of the net protocol: a handshake is all that is said here, so anything that is whole will do.
fn says(from: &mut std::net::TcpStream, to: &mut std::net::TcpStream) {
    use std::io::{Read, Write};
    // time_message, with its four times of eight bytes.
    let frame = [&33_u32.to_le_bytes()[..], &[3], &[0; 32]].concat();
    from.write_all(&frame).unwrap();
    let mut got = vec![0; frame.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, frame);
}

#[test]
fn relay_outer_peers_and_ranks_change_while_legs_go_on() {
    let (one, two) = (Outer::start(), Outer::start());
    let (mut bed, address) = Bed::start(Place::new(), &relay(&[&one], ""));
    let connect = || {
        let stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(support::SOON)).unwrap();
        stream
    };
    let leg = |outer: &Outer| {
        use std::io::Write;
        let mut node = connect();
        // Nothing is dialled before it has said something.
        node.write_all(&[&33_u32.to_le_bytes()[..], &[3], &[0; 32]].concat()).unwrap();
        let mut far = outer.leg();
        let mut first = [0; 37];
        std::io::Read::read_exact(&mut far, &mut first).unwrap();
        (node, far)
    };
    let (mut node, mut far) = leg(&one);
    says(&mut node, &mut far);

    let named = "[[relay.node]]\nname = \"bp1\"\naddress = \"127.0.0.1\"\nrank = 3\n";
    bed.reload(&relay(&[&two], &format!("rank_hold = \"20ms\"\n{named}")));
    says(&mut node, &mut far);
    says(&mut far, &mut node);
    let (mut other, mut far_of_other) = leg(&two);
    says(&mut other, &mut far_of_other);
    let state = bed.get("/api/v1/relay/relay")["state"].clone();
    let legs = state["nodes"].as_array().unwrap();
    assert_eq!(legs.len(), 2);
    assert!(legs.iter().all(|leg| leg["name"] == "bp1" && leg["rank"] == 3), "{state}");
    let outer: Vec<&str> =
        state["outer"].as_array().unwrap().iter().map(|outer| outer["name"].as_str().unwrap()).collect();
    assert_eq!(outer, [&one.address, &two.address], "the first still has a leg");

    // Its last leg ends: it is gone.
    drop((node, far));
    eventually("the former outer peer is shown no more", || {
        bed.get("/api/v1/relay/relay")["state"]["outer"].as_array().unwrap().len() == 1
    });
    let log = bed
        .refused(&relay(&[&two], "producer = [\"prodx\", \"prody\"]\n").replacen(
            "producer = \"prodx\"\n",
            "",
            1,
        ))
        .join("\n");
    assert!(log.contains("[relay] producer: needs a restart (+ prody)"), "{log}");
    says(&mut other, &mut far_of_other);
}

#[test]
fn systemd_is_told_when_it_begins_and_what_came_of_it() {
    let node = Node::start("one");
    let place = Place::new();
    let path = place.path().join("notify");
    let notify = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(support::SOON)).unwrap();
    place.file("mainstay.toml", &format!("{COMMON}{}", rpc(&[&node], "")));
    let running = place.start(&["run"], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let told = || {
        let mut buffer = [0; 4096];
        let length = notify.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(told().contains("READY=1"));
    for (more, status) in
        [("", "reloaded, nothing differs"), ("x = 1\n", "reload refused, nothing has changed: mainstay.toml")]
    {
        place.file("mainstay.toml", &format!("{COMMON}{}", rpc(&[&node], more)));
        running.signal(Signal::HUP);
        let begins = told();
        assert!(begins.contains("RELOADING=1") && begins.contains("MONOTONIC_USEC="), "{begins}");
        let ends = told();
        assert!(ends.contains("READY=1") && ends.contains(&format!("STATUS={status}")), "{ends}");
    }
}
