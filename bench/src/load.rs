//! Closed-loop clients: each sends its next call when the last was answered, on a connection that it keeps.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Result;
use crate::el::contains;
use crate::http::Reader;
use crate::stats::Latencies;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What clients send over and over.
pub(crate) trait Calls: Send + 'static {
    /// The next request as it goes out.
    fn next(&mut self) -> &[u8];
    /// What the reply's body has to contain.
    fn answer(&self) -> &'static str;
}

/// When clients stop.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Time(Instant),
    Count(usize),
}

/// What clients saw.
pub(crate) struct Outcome {
    pub(crate) latencies: Latencies,
    pub(crate) took: Duration,
}

impl Outcome {
    /// What was seen one after the other.
    pub(crate) fn of_all(several: Vec<Self>) -> Self {
        let took = several.iter().map(|one| one.took).sum();
        Self { took, latencies: Latencies::of_all(several.into_iter().map(|one| one.latencies)) }
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.took.as_secs_f64()
    }
}

/// One client.
pub(crate) struct Client {
    stream: TcpStream,
    reader: Reader,
    calls: Box<dyn Calls>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr, calls: Box<dyn Calls>) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, reader: Reader::new(), calls })
    }

    /// One call; how long it took.
    pub(crate) async fn call(&mut self) -> Result<Duration> {
        let Self { stream, reader, calls } = self;
        let wanted = calls.answer();
        let request = calls.next();
        let started = Instant::now();
        stream.write_all(request).await?;
        let right = |_: &[u8], body: &[u8]| contains(body, wanted.as_bytes());
        match reader.next(stream, false, right).await? {
            Some(true) => Ok(started.elapsed()),
            Some(false) => Err(format!("a reply without {wanted}").into()),
            None => Err("the connection was closed".into()),
        }
    }

    async fn run(mut self, until: Until) -> Result<(Self, Vec<Duration>)> {
        let mut latencies = Vec::new();
        loop {
            let done = match until {
                Until::Time(end) => Instant::now() >= end,
                Until::Count(count) => latencies.len() >= count,
            };
            if done {
                return Ok((self, latencies));
            }
            latencies.push(self.call().await?);
        }
    }
}

/// A number of clients that keep their connections between measurements.
pub(crate) struct Clients(Vec<Client>);

impl Clients {
    pub(crate) async fn connect(
        to: SocketAddr,
        count: usize,
        calls: impl Fn(usize) -> Box<dyn Calls>,
    ) -> Result<Self> {
        let mut clients = Vec::with_capacity(count);
        for i in 0..count {
            clients.push(Client::connect(to, calls(i)).await?);
        }
        Ok(Self(clients))
    }

    /// All of them at once.
    pub(crate) async fn run(&mut self, until: Until) -> Result<Outcome> {
        let started = Instant::now();
        let mut running = JoinSet::new();
        for client in self.0.drain(..) {
            running.spawn(client.run(until));
        }
        let mut all = Vec::new();
        let limit = match until {
            Until::Time(end) => end + LIMIT,
            Until::Count(count) => started + LIMIT * u32::try_from(count.max(1))?,
        };
        let joined = async {
            while let Some(ended) = running.join_next().await {
                let (client, mut latencies) = ended??;
                self.0.push(client);
                all.append(&mut latencies);
            }
            Result::Ok(())
        };
        tokio::time::timeout_at(limit, joined).await.map_err(|_| "a call was not answered in 20 s")??;
        Ok(Outcome { took: started.elapsed(), latencies: Latencies::new(all) })
    }
}
