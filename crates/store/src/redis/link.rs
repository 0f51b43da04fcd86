//! The connection: opened when needed, given up when it fails, behind one server, Sentinels or a Cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, TlsCertificates, Value, cmd,
};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::OPERATION;
use super::address::{RedisAddress, Topology};
use super::fault::Fault;
use crate::StoreError;
use crate::authority::{Credentials, Host};

/// How long one server has to accept a connection, and to answer a command.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a Sentinel has.
const SENTINEL_ANSWER: Duration = Duration::from_millis(700);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Redis, wherever it is at the moment. Clones share the connection.
#[derive(Clone)]
pub(super) struct Server(Arc<Shared>);

struct Shared {
    address: RedisAddress,
    certificates: Option<TlsCertificates>,
    /// Held while connecting, so that one does it for all; every wait for it has a deadline.
    state: Mutex<State>,
    /// Where to subscribe; sent anew with every new connection.
    linked: watch::Sender<Option<Client>>,
    /// Counts subscriptions, to spread them over a Cluster.
    turn: AtomicUsize,
}

#[derive(Default)]
struct State {
    link: Option<Open>,
    /// Counts connections.
    opened: u64,
    /// After a failure: nobody connects before then. It is forgotten once a connection has been of use, since some servers (or what stands
    /// before one) take connections only to drop them.
    pause: Option<Pause>,
}

struct Pause {
    until: Instant,
    length: Duration,
    why: Fault,
}

impl State {
    /// Nobody connects for a while, longer each time.
    fn rest(&mut self, why: &Fault) {
        let length = self.pause.as_ref().map_or(FIRST_WAIT, |pause| (pause.length * 2).min(LONGEST_WAIT));
        self.pause = Some(Pause { until: Instant::now() + length, length, why: why.clone() });
    }
}

#[derive(Clone)]
struct Open {
    link: Link,
    number: u64,
    /// Whether it has been of use.
    used: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    async fn run(&mut self, command: &Cmd) -> redis::RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

impl Server {
    pub(super) fn new(address: RedisAddress) -> Result<Self, StoreError> {
        let certificates = match &address.ca {
            None => None,
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| {
                    StoreError::Unreachable(format!("cannot read {}: {error}", path.display()))
                })?;
                Some(TlsCertificates { client_tls: None, root_cert: Some(pem) })
            }
        };
        if address.tls {
            // The client takes the process's default, which has to be the one that is linked in. An error says that it
            // is set already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self(Arc::new(Shared {
            address,
            certificates,
            state: Mutex::default(),
            linked: watch::Sender::new(None),
            turn: AtomicUsize::new(0),
        })))
    }

    /// Where to subscribe, from now on.
    pub(super) fn linked(&self) -> watch::Receiver<Option<Client>> {
        self.0.linked.subscribe()
    }

    /// Asks Redis; an answer that is an error is a fault.
    pub(super) async fn run(&self, command: &Cmd, deadline: Instant) -> Result<Value, Fault> {
        let mut asked = None;
        let work = async {
            let Open { mut link, number, used } = self.link().await?;
            asked = Some(number);
            let fresh = !used.load(Ordering::Relaxed);
            let answer = link.run(command).await.map_err(|error| Fault::of_command(&error));
            if answer.as_ref().map_or_else(|fault| fault.usable, |_| true) {
                used.store(true, Ordering::Relaxed);
            }
            answer.map_err(|fault| Fault { stale: !fresh && !fault.usable && !fault.slow, ..fault })
        };
        let result = tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(Fault::late()));
        let Err(mut fault) = result else { return result };
        fault.delivered &= asked.is_some();
        if let Some(number) = asked
            && !fault.usable
        {
            self.0.discard(number, &fault);
        }
        Err(fault)
    }

    /// The connection.
    async fn link(&self) -> Result<Open, Fault> {
        if let Ok(state) = self.0.state.try_lock()
            && let Some(open) = &state.link
        {
            return Ok(open.clone());
        }
        // Who asks may have less time than it takes to connect: that goes on without it, for who asks next.
        let shared = Arc::clone(&self.0);
        let connecting = tokio::spawn(async move { shared.link().await });
        connecting.await.unwrap_or_else(|_| Err(Fault::unreached("connecting was broken off")))
    }
}

impl Shared {
    /// Gives a connection up, if it is still the one in use.
    fn discard(&self, number: u64, why: &Fault) {
        // Whoever connects just now has given it up already.
        if let Ok(mut state) = self.state.try_lock()
            && let Some(open) = state.link.take_if(|open| open.number == number)
        {
            match open.used.load(Ordering::Relaxed) {
                true => state.pause = None,
                false => state.rest(why),
            }
        }
    }

    /// The same, connecting if it has to.
    async fn link(&self) -> Result<Open, Fault> {
        let mut state = self.state.lock().await;
        if let Some(open) = &state.link {
            return Ok(open.clone());
        }
        if let Some(pause) = &state.pause
            && Instant::now() < pause.until
        {
            return Err(pause.why.clone());
        }
        match tokio::time::timeout(OPERATION.mul_f32(0.9), self.connect())
            .await
            .unwrap_or_else(|_| Err(Fault::late()))
        {
            Ok((link, client)) => {
                state.opened += 1;
                let open = Open { link, number: state.opened, used: Arc::default() };
                state.link = Some(open.clone());
                self.linked.send_replace(Some(client));
                Ok(open)
            }
            Err(why) => {
                state.rest(&why);
                Err(why)
            }
        }
    }

    /// Connects, and says where to subscribe.
    async fn connect(&self) -> Result<(Link, Client), Fault> {
        match &self.address.topology {
            Topology::Single => {
                let client = self.client(&self.address.hosts[0])?;
                Ok((Link::One(open(&client, ANSWER).await?), client))
            }
            Topology::Sentinel { master, credentials } => {
                let host = self.find_master(master, credentials).await?;
                let client = self.client(&host)?;
                let mut connection = open(&client, ANSWER).await?;
                let role: Vec<Value> = cmd("ROLE")
                    .query_async(&mut connection)
                    .await
                    .map_err(|error| Fault::of_connecting(&error))?;
                if role.first() != Some(&Value::BulkString(b"master".to_vec())) {
                    return Err(Fault::unreached(format!(
                        "{host}, which the Sentinels name, is no master (yet)"
                    )));
                }
                Ok((Link::One(connection), client))
            }
            Topology::Cluster => {
                let hosts = &self.address.hosts;
                let nodes = hosts.iter().map(|host| self.info(host, &self.address.credentials, 0));
                let mut builder = ClusterClient::builder(nodes.collect::<Result<Vec<_>, _>>()?)
                    .connection_timeout(ANSWER)
                    .response_timeout(ANSWER)
                    .overall_response_timeout(Some(OPERATION))
                    // Around a resharding; a failure is tried again from the beginning.
                    .retries(2)
                    .min_retry_wait(10)
                    .max_retry_wait(100);
                if let Some(certificates) = &self.certificates {
                    builder = builder.certs(certificates.clone());
                }
                let client = builder.build().map_err(|error| Fault::of_connecting(&error))?;
                let link =
                    client.get_async_connection().await.map_err(|error| Fault::of_connecting(&error))?;
                // What is published on one node of a Cluster is told to all.
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                Ok((Link::Cluster(link), self.client(&hosts[turn % hosts.len()])?))
            }
        }
    }

    /// Asks all Sentinels at once; the first that knows the master's address is believed.
    async fn find_master(&self, master: &str, credentials: &Credentials) -> Result<Host, Fault> {
        let mut asking = JoinSet::new();
        let master: Arc<str> = master.into();
        for sentinel in &self.address.hosts {
            let client = self.client_with(sentinel, credentials, 0)?;
            let master = Arc::clone(&master);
            asking.spawn(async move {
                let mut connection = open(&client, SENTINEL_ANSWER).await?;
                let mut question = cmd("SENTINEL");
                question.arg("GET-MASTER-ADDR-BY-NAME").arg(&*master);
                let answer: Option<(String, u16)> = question
                    .query_async(&mut connection)
                    .await
                    .map_err(|error| Fault::of_connecting(&error))?;
                let Some((name, port)) = answer else {
                    return Err(Fault::unreached(format!("the Sentinels know no master {master:?}")));
                };
                Ok(Host { name, port })
            });
        }
        let mut last = Fault::unreached("no Sentinel answers");
        while let Some(answer) = asking.join_next().await {
            match answer {
                Ok(Ok(host)) => return Ok(host),
                Ok(Err(fault)) => last = Fault::unreached(format!("Sentinel: {}", fault.text)),
                Err(_) => {}
            }
        }
        Err(last)
    }

    fn client(&self, host: &Host) -> Result<Client, Fault> {
        self.client_with(host, &self.address.credentials, self.address.database)
    }

    fn client_with(&self, host: &Host, credentials: &Credentials, database: u32) -> Result<Client, Fault> {
        let info = self.info(host, credentials, database)?;
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
        .map_err(|error| Fault::of_connecting(&error))
    }

    fn info(&self, host: &Host, credentials: &Credentials, database: u32) -> Result<ConnectionInfo, Fault> {
        let Host { name, port } = host.clone();
        let address = if self.address.tls {
            ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(name, port)
        };
        // No CLIENT SETINFO: a user with few permissions may not send it.
        let mut settings = RedisConnectionInfo::default().set_db(database.into()).set_skip_set_lib_name();
        if let Some(user) = &credentials.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &credentials.password {
            settings = settings.set_password(password);
        }
        let info = address.into_connection_info().map_err(|error| Fault::of_connecting(&error))?;
        Ok(info.set_redis_settings(settings))
    }
}

async fn open(client: &Client, answer: Duration) -> Result<MultiplexedConnection, Fault> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(answer)).set_response_timeout(Some(answer));
    let opening = client.get_multiplexed_async_connection_with_config(&config);
    match tokio::time::timeout(answer, opening).await {
        Ok(opened) => opened.map_err(|error| Fault::of_connecting(&error)),
        Err(_) => Err(Fault::unreached("it does not answer")),
    }
}
