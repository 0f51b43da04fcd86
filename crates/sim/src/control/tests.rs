#![allow(clippy::unwrap_used)]

use ::http::{Request, StatusCode};
use bytes::Bytes;
use mainstay_wire::client::{self, Client};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{chain::genesis, el::El, server::ElServer};

async fn control() -> Control {
    let mut nodes = Vec::new();
    for name in ["el1", "el2"] {
        nodes.push(ElServer::start(El::new(name, genesis(1, 0)), None).await.unwrap().0);
    }
    Control::new(nodes)
}

#[test]
fn lines_are_understood_or_explained() {
    let act = |node: &str, action| Ok(Line::Act { node: node.to_owned(), action });
    assert_eq!(parse_line("  crash el2 "), act("el2", Action::Crash));
    assert_eq!(parse_line("lag el1"), act("el1", Action::Lag(USUAL_LAG)));
    assert_eq!(parse_line("lag el1 1500ms"), act("el1", Action::Lag(Duration::from_millis(1500))));
    assert_eq!(parse_line("heal all"), act("all", Action::Heal));
    assert_eq!(parse_line("help"), Ok(Line::Help));
    assert_eq!(parse_line("nodes"), Ok(Line::Nodes));
    assert_eq!(parse_line(""), Ok(Line::Nothing));
    for (line, hint) in [
        ("explode el1", "use crash"),
        ("crash", "which node"),
        ("explode", "help shows how"),
        ("lag el1 0", "1 to 600000"),
        ("lag el1 soon", "1 to 600000"),
        ("hang el1 5", "only lag"),
        ("lag el1 5 6", "too many words"),
    ] {
        let why = parse_line(line).unwrap_err();
        assert!(why.contains(hint), "{line}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_break_and_heal_nodes() {
    let control = control().await;
    assert!(control.line("crash el2").ends_with("head 0: down"));
    assert!(control.line("lag el1 5").ends_with("lag 5 ms"));
    let faults: Vec<_> = control.states().into_iter().map(|state| state.fault).collect();
    assert_eq!(faults, [Some("lag 5 ms".to_owned()), Some("down".to_owned())]);
    assert!(control.line("nodes").contains('\n'));
    assert_eq!(control.line("lie el3"), "no such node: use el1, el2 or all");
    assert_eq!(control.line("help"), HELP);
    assert_eq!(control.line(""), "");
    for (verb, fault) in [("lie", "lie"), ("syncing", "syncing"), ("hang", "hang"), ("heal", "well")] {
        assert!(control.line(&format!("{verb} all")).ends_with(fault));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_goes_over_http() {
    let control = control().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(control.clone().serve(listener, stop.clone()));
    let url = url::Url::parse(&format!("http://{addr}")).unwrap();
    let client = Client::new(&url, client::Options::default()).unwrap();
    let ask = async |method: &str, path: &str, origin: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(Bytes::new()).unwrap();
        let reply = client.send(request, Instant::now() + Duration::from_secs(5)).await.unwrap();
        (reply.status.as_u16(), serde_json::from_slice::<Value>(&reply.body).unwrap())
    };

    let (status, nodes) = ask("GET", "/sim/nodes", None).await;
    assert_eq!((status, &nodes[1]["name"], &nodes[1]["fault"]), (200, &"el2".into(), &Value::Null));
    let (status, nodes) = ask("POST", "/sim/nodes/el2/lag?ms=300", None).await;
    assert_eq!((status, &nodes[0]["fault"]), (200, &"lag 300 ms".into()));
    assert_eq!(control.states()[1].fault.as_deref(), Some("lag 300 ms"));
    for (method, path, expected) in [
        ("POST", "/sim/nodes/el9/crash", 404),
        ("POST", "/sim/nodes/el1/explode", 400),
        ("POST", "/sim/nodes/el1/lag?ms=x", 400),
        ("POST", "/sim/nodes/el1/lag?s=1", 400),
        ("GET", "/sim/nodes/el1/crash", 405),
        ("POST", "/sim/nodes", 405),
        ("GET", "/sim/nodes/el1", 404),
        ("GET", "/", 404),
    ] {
        let (status, body) = ask(method, path, None).await;
        assert_eq!(status, expected, "{method} {path}");
        assert!(body["error"].is_string());
    }
    let (status, _) = ask("POST", "/sim/nodes/el1/crash", Some("http://example.org")).await;
    assert_eq!(status, StatusCode::FORBIDDEN.as_u16());
    assert_eq!(control.states()[0].fault, None);
    stop.cancel();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn it_serves_nobody_from_elsewhere() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = control().await.serve(listener, CancellationToken::new()).await;
    assert!(refused.unwrap_err().to_string().contains("not on loopback"));
}

#[test]
fn lines_come_from_a_reader_until_it_ends() {
    let (sender, mut lines) = mpsc::channel(16);
    let long = "x".repeat(1500);
    let text = format!("crash el1\n{long}\nheal el1");
    lines::forward(&mut text.as_bytes(), &sender);
    drop(sender);
    let mut read = Vec::new();
    while let Some(line) = lines.blocking_recv() {
        read.push(line);
    }
    assert_eq!((read.len(), read[0].as_str(), read[3].as_str()), (4, "crash el1", "heal el1"));
}
