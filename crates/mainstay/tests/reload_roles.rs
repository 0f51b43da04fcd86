//! Roles that come, go and take the place of others while the process runs: whoever asks one that stays doesn't notice, and whoever asks one
//! that goes has its answer.
#![allow(clippy::unwrap_used)]

#[path = "reload/bed.rs"]
mod bed;
mod lab;
#[path = "reload/load.rs"]
mod load;
#[path = "takeover/load.rs"]
mod returning;
mod support;

use std::net::{TcpListener, TcpStream};

use bed::{Bed, CALL, beacon, engine, rpc, sync, token};
use lab::Lab;
use load::Load;
use mainstay_sim::{BeaconServer, BeaconState, Family};
use mainstay_wire::jwt::Secret;
use rustix::process::Signal;
use serde_json::Value;
use support::Place;
use support::http::{Node, answer, ask, eventually, send};

/// Kinds and names of the roles that the API shows.
fn shown(bed: &Bed) -> Vec<String> {
    let status = bed.get("/api/v1/status");
    let health: Value = serde_json::from_str(&ask(&bed.admin, "GET", "/healthz", "").body).unwrap();
    let names = |of: &Value| -> Vec<String> {
        let name =
            |role: &Value| format!("{}/{}", role["role"].as_str().unwrap(), role["name"].as_str().unwrap());
        of["roles"].as_array().unwrap().iter().map(name).collect()
    };
    let roles = names(&bed.get("/api/v1/roles"));
    assert_eq!((&names(&status), &names(&health)), (&roles, &roles));
    roles
}

fn page(bed: &Bed) -> String {
    ask(&bed.admin, "GET", "/metrics", "").fine()
}

fn secret() -> Secret {
    Secret::from_hex(&"11".repeat(32)).unwrap()
}

#[test]
fn a_role_more_and_a_role_less_and_the_others_do_not_notice() {
    let (lab, node) = (Lab::with_secret(1, Some(&secret())), Node::start("one"));
    let alone = rpc(&[&node], "");
    let (mut bed, address) = Bed::start(Place::new(), &alone);
    let load = Load::start(&address, CALL.as_bytes(), String::new);
    load.goes_on();
    assert_eq!(shown(&bed), ["rpc/rpc"]);
    assert!(!page(&bed).contains("mainstay_engine"));

    let engine = engine(&lab, &[0], "");
    let told = bed.reload(&format!("{alone}{engine}"));
    assert!(told.contains("changes=1"), "{told}");
    let seen = bed.running.seen.join("\n");
    assert!(seen.contains("setting changed: [engine] engine: one role more"), "{seen}");
    let of_engine = seen.split("role=engine name=engine address=").nth(1).unwrap();
    let of_engine = of_engine.split_whitespace().next().unwrap().to_owned();
    // In the order of a start, fit from its first moment on.
    assert_eq!(shown(&bed), ["engine/engine", "rpc/rpc"]);
    assert_eq!(ask(&bed.admin, "GET", "/readyz", "").status, 200);
    let call = || {
        let token = token().replace("authorization: Bearer ", "");
        lab::from(&of_engine, "10.0.0.1", Some(token.trim()), &lab::head(lab.chain.tip())).status
    };
    assert_eq!(call(), 200);
    eventually("its metrics are there", || {
        page(&bed).contains("mainstay_engine_node_fit{engine=\"engine\",node=\"el1\"} 1\n")
    });
    let told = page(&bed);
    assert!(told.contains("mainstay_rpc_requests_total{") && told.ends_with("# EOF\n"), "{told}");
    eventually("it is among the changes", || {
        let changes = bed.get("/api/v1/changes").to_string();
        changes.contains("one role more") && changes.contains("\"engine\"")
    });
    load.goes_on();

    // And what it has can change, as of one that was there from the start.
    bed.reload(&format!("{alone}{engine}majority = 0.9\n"));
    assert_eq!(bed.get("/api/v1/engine/engine")["state"]["majority"], 0.9);

    let told = bed.reload(&alone);
    assert!(told.contains("changes=1"), "{told}");
    let seen = bed.running.seen.join("\n");
    assert!(
        seen.contains("setting changed: [engine] engine: one role less, which ends what it has"),
        "{seen}"
    );
    assert_eq!(shown(&bed), ["rpc/rpc"]);
    assert_eq!(ask(&bed.admin, "GET", "/api/v1/engine/engine", "").status, 404);
    let told = page(&bed);
    assert!(!told.contains("mainstay_engine") && told.contains("mainstay_rpc_requests_total{"), "{told}");
    eventually("nobody holds its port", || TcpStream::connect(&of_engine).is_err());
    eventually("its nodes are left alone", || {
        let asked = || lab.els[0].calls().len();
        let before = asked();
        // As long as a dozen probes take.
        load.goes_on();
        eventually("a second goes by", {
            let since = lab::wall();
            move || since.elapsed().unwrap().as_millis() > 1200
        });
        asked() == before
    });
    load.goes_on();
    load.end();
    bed.running.signal(Signal::TERM);
    assert_eq!(bed.running.ended(), Some(0));
}

#[test]
fn a_role_less_answers_what_it_has_and_nothing_more() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let named =
        |node: &Node, name: &str| rpc(&[node], &format!("name = {name:?}\n")).replace("[rpc]", "[[rpc]]");
    let (stays, goes) = (named(&one, "stays"), named(&two, "goes"));
    let (mut bed, _) = {
        let place = Place::new();
        place.file("mainstay.toml", &format!("{}{goes}{stays}", bed::COMMON));
        let mut running = place.start(&["run"], &bed::QUIET);
        let goes = running.address("rpc");
        let address = running.address("rpc");
        let admin = running.address("admin");
        let load = Load::start(&address, CALL.as_bytes(), String::new);
        let mut bed = Bed { place, running, admin };
        // A request is under way, and a connection is kept.
        let gate = two.gate.write().unwrap();
        let waits = send(&goes, "POST", "/", CALL).unwrap();
        eventually("the node has it", || two.asked() == 1);
        bed.reload(&stays);
        assert_eq!(shown(&bed), ["rpc/stays"]);
        let told = page(&bed);
        assert!(told.contains("rpc=\"stays\"") && !told.contains("rpc=\"goes\""), "{told}");
        eventually("nobody is accepted", || TcpStream::connect(&goes).is_err());
        load.goes_on();
        drop(gate);
        let reply = answer(waits).unwrap();
        assert_eq!((reply.status, reply.body.contains("two")), (200, true), "{}", reply.body);
        load.goes_on();
        load.end();
        (bed, address)
    };
    // The last one can't go.
    let log = bed.refused("").join("\n");
    assert!(log.contains("has no role to run"), "{log}");
    assert_eq!(shown(&bed), ["rpc/stays"]);
}

#[test]
fn a_role_that_cannot_listen_refuses_all_of_it() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let lab = Lab::with_secret(1, Some(&secret()));
    let before = rpc(&[&one], "");
    let (mut bed, address) = Bed::start(Place::new(), &before);
    let load = Load::start(&address, CALL.as_bytes(), String::new);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let free = format!(
        "[sync]\nlisten = \"unix:{}\"\njwt_secret = \"jwt.hex\"\nnodes = [{:?}]\n",
        bed.place.path().join("free.sock").display(),
        lab.els[0].url()
    );
    let other = engine(&lab, &[0], "").replace("127.0.0.1:0", &at.to_string());
    let text = format!("{}{free}{other}", rpc(&[&one, &two], "retries_max = 7\n"));
    let log = bed.refused(&text).join("\n");
    let line = bed::COMMON.lines().count()
        + text.lines().position(|line| line.contains(&at.to_string())).unwrap()
        + 1;
    let told = format!("mainstay.toml:{line}: [engine] listen: cannot listen on {at}: the port is taken");
    assert!(log.contains(&told), "{told}: {log}");
    assert!(!log.contains("msg=listening"), "{log}");
    let (status, answer) = bed.post();
    assert_eq!((status, answer["error"]["problems"].as_array().unwrap().len()), (409, 1), "{answer}");
    assert_eq!(shown(&bed), ["rpc/rpc"]);
    assert_eq!(lab.els[0].calls().len(), 0, "nobody was asked anything");
    assert!(!bed.place.path().join("free.sock").exists(), "what could be bound is let go");
    load.goes_on();
    assert_eq!(two.asked(), 0);
    assert_eq!(bed.metric("mainstay_config_last_reload_successful"), 0.0);

    // Once it is free, the same file holds.
    drop(taken);
    bed.reload(&text);
    assert_eq!(shown(&bed), ["engine/engine", "sync/sync", "rpc/rpc"]);
    assert!(bed.place.path().join("free.sock").exists());
    eventually("the new node gets requests", || two.asked() > 0);
    bed.reload(&before);
    assert_eq!(shown(&bed), ["rpc/rpc"]);
    eventually("the file of the socket goes with it", || !bed.place.path().join("free.sock").exists());
    load.end();
}

#[test]
fn a_role_that_listens_elsewhere_is_there_before_the_old_one_is_let_go() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let stays = rpc(&[&two], "name = \"stays\"\n").replace("[rpc]", "[[rpc]]");
    let moves = |listen: &str| {
        rpc(&[&one], "name = \"moves\"\n").replace("[rpc]", "[[rpc]]").replace("127.0.0.1:0", listen)
    };
    let place = Place::new();
    place.file("mainstay.toml", &format!("{}{}{stays}", bed::COMMON, moves("127.0.0.1:0")));
    let mut running = place.start(&["run"], &bed::QUIET);
    let (old, other) = (running.address("rpc"), running.address("rpc"));
    let admin = running.address("admin");
    let mut bed = Bed { place, running, admin };
    let untouched = Load::start(&other, CALL.as_bytes(), String::new);
    let gate = one.gate.write().unwrap();
    let waits = send(&old, "POST", "/", CALL).unwrap();
    eventually("the node has it", || one.asked() == 1);
    let moved = format!("unix:{}", bed.place.path().join("moved.sock").display());
    bed.reload(&format!("{}{stays}", moves(&moved)));
    let seen = bed.running.seen.join("\n");
    assert!(seen.contains(&format!("[rpc] listen: {moved} (was 127.0.0.1:0)")), "{seen}");
    assert!(seen.contains("[rpc] moves: started anew, the one before ends what it has"), "{seen}");
    let place_of = |text: &str| seen.find(text).unwrap();
    assert!(place_of(&format!("address={moved}")) < place_of("msg=\"ending what it has\""), "{seen}");
    assert_eq!(shown(&bed), ["rpc/moves", "rpc/stays"]);
    assert_eq!(bed.get("/api/v1/rpc/moves")["state"]["listen"], moved);
    eventually("nobody is accepted at the old place", || TcpStream::connect(&old).is_err());
    drop(gate);
    assert_eq!(answer(waits).unwrap().fine(), r#"{"jsonrpc":"2.0","id":1,"result":"one"}"#);
    assert!(std::os::unix::net::UnixStream::connect(bed.place.path().join("moved.sock")).is_ok());
    // And back.
    bed.reload(&format!("{}{stays}", moves("127.0.0.1:0")));
    eventually("the socket's file is gone", || !bed.place.path().join("moved.sock").exists());
    untouched.goes_on();
    untouched.end();
}

#[test]
fn a_role_that_cannot_take_a_key_while_it_serves_is_followed_by_another_at_the_same_place() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let (mut bed, address) = Bed::start(Place::new(), &rpc(&[&one], "max_connections = 500\n"));
    eventually("the node is fit", || ask(&bed.admin, "GET", "/healthz", "").status == 200);
    let load = returning::Load::start(&address);
    load.goes_on();
    for round in 0..8 {
        let node = if round % 2 == 0 { &two } else { &one };
        let asked = node.asked();
        bed.reload(&rpc(
            &[node],
            &format!("max_connections = {}\nretries_max = {}\n", 501 + round, 4 + round),
        ));
        load.goes_on();
        eventually("the new one has requests", || node.asked() > asked);
        assert_eq!(shown(&bed), ["rpc/rpc"]);
        assert_eq!(ask(&bed.admin, "GET", "/healthz", "").status, 200);
    }
    let seen = bed.running.seen.join("\n");
    assert_eq!(
        seen.matches(&format!("msg=listening role=rpc name=rpc address={address}")).count(),
        9,
        "{seen}"
    );
    // Under another name too.
    bed.reload(&rpc(&[&one], "name = \"other\"\nmax_connections = 508\nretries_max = 11\n"));
    assert_eq!(shown(&bed), ["rpc/other"]);
    load.goes_on();
    let told = page(&bed);
    assert!(told.contains("rpc=\"other\"") && !told.contains("rpc=\"rpc\""), "{told}");
    load.end();
    bed.running.signal(Signal::TERM);
    assert_eq!(bed.running.ended(), Some(0));
    assert!(TcpStream::connect(&address).is_err(), "nobody holds its port");
}

#[test]
fn one_that_serves_is_not_let_go_for_one_that_would_serve_nobody() {
    let one = Node::start("one");
    let (mut bed, address) = Bed::start(Place::new(), &rpc(&[&one], ""));
    eventually("the node is fit", || ask(&bed.admin, "GET", "/healthz", "").status == 200);
    let load = Load::start(&address, CALL.as_bytes(), String::new);
    let nowhere = rpc(&[&one], "max_connections = 9\n").replace(&one.url, "http://127.0.0.1:1");
    let log = bed.refused(&nowhere).join("\n");
    assert!(log.contains("[rpc] rpc: it would serve nobody: no node can be used"), "{log}");
    load.goes_on();
    assert_eq!(bed.get("/api/v1/rpc/rpc")["state"]["nodes"][0]["name"], one.url.replace("http://", ""));
    load.end();
    // Where nobody is served anyway, the file holds.
    drop(one);
    eventually("its node is gone", || ask(&bed.admin, "GET", "/healthz", "").status == 503);
    bed.reload(&nowhere);
    assert_eq!(ask(&bed.admin, "GET", "/healthz", "").status, 503);
}

#[test]
fn two_roles_may_change_places() {
    let (one, two) = (Node::start("one"), Node::start("two"));
    let of = |node: &Node, name: &str, listen: &str| {
        let text = rpc(&[node], &format!("name = {name:?}\n"));
        text.replace("[rpc]", "[[rpc]]").replace("127.0.0.1:0", listen)
    };
    let place = Place::new();
    let any = "127.0.0.1:0";
    place.file("mainstay.toml", &format!("{}{}{}", bed::COMMON, of(&one, "a", any), of(&two, "b", any)));
    let mut running = place.start(&["run"], &bed::QUIET);
    let (at_a, at_b) = (running.address("rpc"), running.address("rpc"));
    let admin = running.address("admin");
    let mut bed = Bed { place, running, admin };
    let said = |address: &str| ask(address, "POST", "/", CALL).fine();
    eventually("both answer", || said(&at_a).contains("one") && said(&at_b).contains("two"));
    let loads = [returning::Load::start(&at_a), returning::Load::start(&at_b)];
    bed.reload(&format!("{}{}", of(&one, "a", &at_b), of(&two, "b", &at_a)));
    eventually("they have changed places", || said(&at_a).contains("two") && said(&at_b).contains("one"));
    // One goes, and another kind of role has its place.
    let lab = Lab::with_secret(1, Some(&secret()));
    let engine = engine(&lab, &[0], "").replace(any, &at_a);
    for load in loads {
        load.goes_on();
        load.end();
    }
    bed.reload(&format!("{}{engine}", of(&one, "a", &at_b)));
    assert_eq!(shown(&bed), ["engine/engine", "rpc/a"]);
    let token = token().replace("authorization: Bearer ", "");
    let status = || lab::from(&at_a, "10.0.0.1", Some(token.trim()), &lab::head(lab.chain.tip())).status;
    eventually("it answers there", || status() == 200);
    // The same port at all addresses can't be had before the narrower one is let go.
    let (_, port) = at_b.split_once(':').unwrap();
    let log = bed.refused(&format!("{}{engine}", of(&one, "a", &format!("0.0.0.0:{port}")))).join("\n");
    let told = format!("cannot listen on 0.0.0.0:{port} while {at_b}, which is to be let go, is open yet");
    assert!(log.contains(&told), "{log}");
    assert!(said(&at_b).contains("one"));
}

#[test]
fn names_of_consensus_clients_and_proxies_change() {
    let lab = Lab::with_secret(3, Some(&secret()));
    let (mut bed, address) = Bed::start(Place::new(), &sync(&lab, &[0, 1], ""));
    let call = || {
        let token = token().replace("authorization: Bearer ", "");
        lab::from(&address, "10.0.0.1", Some(token.trim()), &lab::head(lab.chain.tip())).status
    };
    assert_eq!(call(), 200);
    let proxy = lab.els[2].url();
    bed.reload(&sync(&lab, &[0, 1], &format!("clients = [\"ours=10.0.0.1\"]\nproxies = [{proxy:?}]\n")));
    assert_eq!(call(), 200);
    eventually("the proxy has copies", || lab.els[2].count(Family::ForkchoiceUpdated) > 0);
    let clients = bed.get("/api/v1/sync/sync")["state"]["clients"].to_string();
    assert!(clients.contains("ours"), "{clients}");
    bed.reload(&sync(&lab, &[0, 1], ""));
    assert_eq!(call(), 200);
    let clients = bed.get("/api/v1/sync/sync")["state"]["clients"].to_string();
    assert!(!clients.contains("ours"), "{clients}");
}

#[test]
fn guards_come_and_go_with_their_listeners() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = |name| runtime.block_on(BeaconServer::start(name, BeaconState::default())).unwrap();
    let (one, two) = (start("one"), start("two"));
    let (mut bed, address) = Bed::start(Place::new(), &beacon(&one, ""));
    let get = |address: &str| load::raw(address, "GET /eth/v1/node/version HTTP/1.1\r\n").status;
    eventually("the guard opens", || get(&address) == 200);
    let text = beacon(&one, "agent_check = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n")
        .replace("listen = \"127.0.0.1:0\"", "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]")
        .replace(&format!("{:?}", one.url()), &format!("[{:?}, {:?}]", one.url(), two.url()));
    let from = bed.running.seen.len();
    bed.reload(&text);
    let listening = bed.running.seen[from..].iter().filter(|line| line.contains("msg=listening"));
    let listening: Vec<&str> =
        listening.map(|line| line.split("address=").nth(1).unwrap().split(' ').next().unwrap()).collect();
    assert_eq!((listening.len(), listening[0]), (4, address.as_str()), "{listening:?}");
    eventually("both guards open", || get(listening[0]) == 200 && get(listening[2]) == 200);
    assert_eq!(bed.get("/api/v1/beacon/beacon/nodes")["nodes"].as_array().unwrap().len(), 2);
    let renamed = text.replace(&two.url(), &format!("{}#name=other", two.url()));
    let log = bed.refused(&renamed).join("\n");
    assert!(log.contains("a guard's name: needs a restart (was beacon-2, would be other)"), "{log}");
}
