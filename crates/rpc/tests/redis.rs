//! The list of nodes in a real Redis, which is killed and started again under load.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Child, Command, Stdio};

use common::{Act, Bed, CALL, Node, PATIENCE, failed, ms};
use mainstay_rpc::{Level, Operated};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// prio-load-balancer's key by its default prefix.
const KEY: &str = "prio-load-balancer:prio-load-balancer:nodes";

struct Redis {
    port: u16,
    child: Child,
}

impl Redis {
    async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut redis = Self { port, child: spawn(port) };
        redis.answers().await;
        redis
    }

    /// Ends it as a crash does; it keeps nothing.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn restart(&mut self) {
        self.child = spawn(self.port);
        self.answers().await;
    }

    async fn answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(
                self.child.try_wait().unwrap().is_none() && Instant::now() < deadline,
                "it doesn't start"
            );
            tokio::time::sleep(ms(5)).await;
        }
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16) -> Child {
    let port = port.to_string();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.expect("redis-server is installed (tests/tools.sh)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_goes_and_comes_back_under_load() {
    let (one, two) = (Node::new().await, Node::new().await);
    let mut redis = Redis::start().await;
    redis.cli(&["SET", KEY, &format!("[\"{}\"]", one.uri)]);
    let text = format!("redis = \"127.0.0.1:{}\"\n", redis.port);
    let left = Bed::build(&[], &text).await;
    let right = Bed::build(std::slice::from_ref(&two.uri), &text).await;
    // One JSON for all of them, those of the settings on top.
    let both = format!("[\"{}\",\"{}\"]", one.uri, two.uri);
    assert_eq!(redis.cli(&["GET", KEY]), both);
    left.until("both are seen", |bed| bed.views().len() == 2 && bed.views().iter().all(|node| node.fit))
        .await;

    // So that it lasts as long as Redis is away.
    [&one, &two].into_iter().for_each(|node| node.act(Act::Answer(ms(3))));
    let loads = [left.load(4, 400, CALL), right.load(4, 400, CALL)];
    redis.kill();
    left.until("it is missed", |bed| bed.handle.health().0 == Level::Degraded).await;
    assert!(left.handle.remove(&one.uri).await.is_err());
    assert_eq!(left.views().len(), 2);
    let before = one.count() + two.count();
    left.until("requests are answered without it", |_| one.count() + two.count() > before + 20).await;
    redis.restart().await;
    left.until("it is back", |bed| bed.handle.health().0 == Level::Well).await;
    right.until("it is back", |bed| bed.handle.health().0 == Level::Well).await;
    for load in loads {
        assert_eq!(failed(load).await, 0);
    }
    // It had lost the list, in whatever order they have it.
    left.until("the list is there again", |_| redis.cli(&["GET", KEY]).contains(&two.uri)).await;
    assert_eq!(left.views().len(), 2);

    // What others write is the truth, an empty list too.
    redis.cli(&["SET", KEY, &format!("[\"{}\"]", two.uri)]);
    left.until("it follows", |bed| bed.views().len() == 1).await;
    redis.cli(&["SET", KEY, "[]"]);
    left.until("it follows", |bed| bed.views().is_empty()).await;
    assert_eq!(left.post(CALL).await.status, 503);
}
