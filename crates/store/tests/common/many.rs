//! Several servers as one: behind Sentinel, and as a Cluster.

use super::eventually;
use super::server::{Redis, cli};

/// Of the servers, not of the Sentinel.
pub const PASSWORD: &str = "s3cret";
/// Arguments of `redis-cli` for them.
pub const AUTH: [&str; 3] = ["--no-auth-warning", "-a", PASSWORD];

/// A master with one replica, and the Sentinel that watches them as `mymaster`.
pub struct Watched {
    pub master: Redis,
    pub replica: Redis,
    sentinel: Redis,
}

impl Watched {
    pub async fn start() -> Self {
        let secured =
            ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"];
        let master = Redis::start(&secured).await;
        let port = master.port.to_string();
        let replica = Redis::start(&[&secured[..], &["--replicaof", "127.0.0.1", &port]].concat()).await;
        eventually(10, "a replica in step", async || {
            replica
                .cli(&[&AUTH[..], &["INFO", "replication"]].concat())
                .await
                .contains("master_link_status:up")
        })
        .await;
        let config = format!(
            "sentinel monitor mymaster 127.0.0.1 {port} 1\nsentinel auth-pass mymaster {PASSWORD}\n\
             sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
        );
        let sentinel =
            Redis::start_with(&[("sentinel.conf", &config)], &["DIR/sentinel.conf", "--sentinel"]).await;
        eventually(10, "a Sentinel that knows the replica", async || {
            let known = sentinel.cli(&["--raw", "SENTINEL", "REPLICAS", "mymaster"]).await;
            known.contains(&replica.port.to_string()) && known.contains("\nok\n")
        })
        .await;
        Self { master, replica, sentinel }
    }

    /// By the Sentinels: the first of the list is dead.
    pub fn url(&self, path: &str) -> String {
        format!("redis-sentinel://:{PASSWORD}@127.0.0.1:1,127.0.0.1:{}/{path}", self.sentinel.port)
    }
}

/// Three servers that share the slots in three parts of one size.
pub async fn cluster() -> [Redis; 3] {
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        "cluster.conf",
        "--cluster-node-timeout",
        "1000",
        "--cluster-require-full-coverage",
        "no",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ];
    let servers = [Redis::start(&options).await, Redis::start(&options).await, Redis::start(&options).await];
    let addresses = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port));
    let [a, b, c] = addresses.each_ref().map(String::as_str);
    cli(servers[0].port, &["--cluster", "create", a, b, c, "--cluster-yes"]).await;
    for server in &servers {
        eventually(10, "a cluster", async || {
            server.cli(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
        })
        .await;
    }
    servers
}

/// The one of a cluster that keeps `key`.
pub async fn keeper(servers: &[Redis; 3], key: &str) -> usize {
    let slot = servers[0].cli(&["CLUSTER", "KEYSLOT", key]).await.trim().parse::<usize>().unwrap();
    (slot / 5461).min(2)
}
