//! The harness's own arguments.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;

pub(crate) const HELP: &str = "\
Measures mainstay against direct calls, HAProxy and nginx, and writes what it found as Markdown.

  --mainstay FILE   the release binary [the one beside this program]
  --haproxy FILE    [haproxy of the PATH, else /usr/sbin/haproxy]
  --nginx FILE      [nginx of the PATH, else /usr/sbin/nginx]
  --etcd FILE       keeps claims of relay [etcd of the PATH, else /usr/sbin/etcd]
  --redis FILE      the same [redis-server of the PATH, else /usr/sbin/redis-server]
  --rounds N        rounds of every comparison [5]
  --seconds S       seconds of one measurement in a round [1.0]
  --out FILE        where to write, - for standard output [docs/benchmarks.md]

  queue             as the only argument: measures the queue of the rpc role, and prints a table
  sync              as the first argument: measures the sync role alone, and prints its tables
  rpc               the same for the rpc role
  relay             as the first argument: the same for the relay role
";

/// What was asked for.
pub(crate) struct Options {
    pub(crate) mainstay: PathBuf,
    pub(crate) haproxy: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) etcd: PathBuf,
    pub(crate) redis: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments; `None` if help is asked for.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let beside = std::env::current_exe()?.with_file_name("mainstay");
        let mut options = Self {
            mainstay: beside,
            haproxy: "haproxy".into(),
            nginx: "nginx".into(),
            etcd: "etcd".into(),
            redis: "redis-server".into(),
            rounds: 5,
            slice: Duration::from_secs(1),
            out: Some("docs/benchmarks.md".into()),
        };
        while let Some(flag) = arguments.next() {
            if matches!(flag.as_str(), "-h" | "--help") {
                return Ok(None);
            }
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value, see --help"))?;
            let wrong = |what| format!("{flag} {value}: write {what}");
            match flag.as_str() {
                "--mainstay" => options.mainstay = value.into(),
                "--haproxy" => options.haproxy = value.into(),
                "--nginx" => options.nginx = value.into(),
                "--etcd" => options.etcd = value.into(),
                "--redis" => options.redis = value.into(),
                "--rounds" => match value.parse() {
                    Ok(rounds @ 1..=1000) => options.rounds = rounds,
                    _ => return Err(wrong("a number from 1 to 1000").into()),
                },
                "--seconds" => match value.parse() {
                    Ok(seconds @ 0.1..=600.0) => options.slice = Duration::from_secs_f64(seconds),
                    _ => return Err(wrong("a number from 0.1 to 600").into()),
                },
                "--out" => options.out = (value != "-").then(|| value.into()),
                _ => return Err(format!("unknown argument {flag}, see --help").into()),
            }
        }
        if !options.mainstay.is_file() {
            let path = options.mainstay.display();
            return Err(format!("{path} is missing: run bench/run.sh, or give --mainstay FILE").into());
        }
        Ok(Some(options))
    }
}
