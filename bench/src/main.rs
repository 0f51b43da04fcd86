//! What mainstay adds, measured against direct calls, HAProxy and nginx on the same machine in the same run.
//!
//! Simulated nodes with fixed replies ([`el`], [`bn`]), closed-loop clients ([`load`]), and the proxies as processes
//! of their own ([`proxy`]). Each question has a module that interleaves what it compares, in rounds, so that a machine
//! that is slower for a while is slower for all: [`fan_out`], [`single`], [`memory`], [`queue`], [`failover`], [`relay`] (its claims in [`stores`] too). [`report`] writes it down.

mod bn;
mod el;
mod failover;
mod fan_out;
mod http;
mod load;
mod machine;
mod memory;
mod options;
mod place;
mod proxy;
mod queue;
mod relay;
mod report;
mod single;
mod stats;
mod stores;
mod sync;

use std::error::Error;
use std::process::ExitCode;

use options::Options;
use single::Case;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many ELs the fan-out has.
const NODES: usize = 3;
/// Bytes of a request through `rpc`: a transaction, and a block to validate.
const REQUESTS: [usize; 2] = [200, 120_000];
/// How many attestations are sent at once.
const ATTESTATIONS: usize = 64;

fn main() -> ExitCode {
    // Before there are threads.
    let _first = machine::First::now();
    if std::env::args().nth(1).as_deref() == Some("queue") {
        return finish(queue::measure(200).map(|all| print!("{}", queue::table(&all))));
    }
    if std::env::args().nth(1).as_deref() == Some("sync") {
        return finish(run_sync());
    }
    if std::env::args().nth(1).as_deref() == Some("rpc") {
        return finish(run_rpc());
    }
    if std::env::args().nth(1).as_deref() == Some("relay") {
        return finish(run_relay());
    }
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    finish(run(&options))
}

fn finish(ended: Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The tables of the sync role alone.
fn run_sync() -> Result<()> {
    let options = Options::read(std::env::args().skip(2))?.ok_or("sync takes the other arguments")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let bench = proxy::Bench::new(&options, Vec::new())?;
        sync::measure(&bench, &options, machine::Machine::look().cores).await
    })?;
    print!("{}", report::sync_alone(&found));
    Ok(())
}

/// The tables of calls through the rpc role alone.
fn run_rpc() -> Result<()> {
    let options = Options::read(std::env::args().skip(2))?.ok_or("rpc takes the other arguments")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = runtime.block_on(async {
        let bench = proxy::Bench::new(&options, vec![el::start_here().await?])?;
        through_rpc(&bench, &options, machine::Machine::look().cores).await
    })?;
    print!("{}", report::rpc_alone(&report::Rpc { calls, queue: queue::measure(100)? }));
    Ok(())
}

async fn through_rpc(
    bench: &proxy::Bench,
    options: &Options,
    cores: usize,
) -> Result<Vec<(usize, Vec<single::Series>)>> {
    let mut sizes = Vec::new();
    for bytes in REQUESTS {
        eprintln!("bench: requests of {bytes} bytes, {} rounds", options.rounds);
        sizes.push((bytes, single::measure(bench, options, cores, &Case::bundle(bytes)).await?));
    }
    Ok(sizes)
}

/// The tables of the relay role alone.
fn run_relay() -> Result<()> {
    let options = Options::read(std::env::args().skip(2))?.ok_or("relay takes the other arguments")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let bench = proxy::Bench::new(&options, Vec::new())?;
        relay::measure(&bench, &options).await
    })?;
    print!("{}", report::relay_alone(&found));
    Ok(())
}

fn run(options: &Options) -> Result<()> {
    let machine = machine::Machine::look();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let nodes = el::start(NODES)?;
    eprintln!("bench: the queue");
    let queue = queue::measure(100)?;
    let (compared, engine, sync, calls, beacon, relay) = runtime.block_on(async {
        let mut bench = proxy::Bench::new(options, nodes)?;
        let compared = bench.compared().await?;
        eprintln!("bench: newPayload through {NODES} nodes, {} rounds", options.rounds);
        let fan_out = fan_out::measure(&bench, options).await?;
        eprintln!("bench: through sync, {} rounds", place::Place::OneCore.rounds(options));
        let sync = sync::measure(&bench, options, machine.cores).await?;
        eprintln!("bench: eth_chainId, {} rounds", options.rounds);
        // On the clients' own thread, which is then the only one that has to stay awake.
        bench.prefer(el::start_here().await?);
        let calls = single::measure(&bench, options, machine.cores, &Case::chain_id()).await?;
        eprintln!("bench: memory");
        let memory = memory::measure(&bench).await?;
        let engine = report::Engine { fan_out, calls, memory };
        let sizes = through_rpc(&bench, options, machine.cores).await?;
        let beacon = before_a_beacon_node(&mut bench, options, machine.cores).await?;
        eprintln!("bench: blocks through relay, {} rounds", options.rounds);
        let relay = relay::measure(&bench, options).await?;
        Result::Ok((compared, engine, sync, sizes, beacon, relay))
    })?;
    let rpc = report::Rpc { calls, queue };
    let text =
        report::write(&report::Findings { machine, options, compared, engine, sync, rpc, beacon, relay });
    match &options.out {
        Some(path) => {
            std::fs::write(path, text).map_err(|why| format!("cannot write {}: {why}", path.display()))?;
            eprintln!("bench: wrote {}", path.display());
        }
        None => print!("{text}"),
    }
    Ok(())
}

async fn before_a_beacon_node(
    bench: &mut proxy::Bench,
    options: &Options,
    cores: usize,
) -> Result<report::Beacon> {
    let mut node = bn::BeaconNode::start().await?;
    bench.prefer_beacon(node.address);
    let mut calls = Vec::new();
    let cases = [Case::small(), Case::block(), Case::attestations(ATTESTATIONS)];
    for case in &cases {
        eprintln!("bench: {}, {} rounds", case.what, options.rounds);
        calls.push(single::measure(bench, options, cores, case).await?);
    }
    eprintln!("bench: failures of a beacon node, {} rounds", options.rounds);
    let failover = failover::measure(bench, options, &mut node).await?;
    let [small, block, attestations] = calls.try_into().map_err(|_| "three kinds of calls")?;
    Ok(report::Beacon { small, block, attestations: (cases[2].bytes(), attestations), failover })
}
