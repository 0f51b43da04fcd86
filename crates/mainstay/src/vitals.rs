//! What the process tells of itself, under the names that clients of Prometheus share: whether it was started anew, and what it takes of the
//! machine. Read when somebody asks, from `/proc`; what a system doesn't tell is left out.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Registers them, once, when the process starts.
pub(crate) fn register(registry: &mut Registry) {
    #[allow(clippy::disallowed_methods, reason = "a process starts by the wall clock")]
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register_collector(Box::new(Vitals { started }));
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.sub_registry_with_prefix("mainstay").register("build", "Which mainstay this is", build);
}

#[derive(Debug)]
struct Vitals {
    /// In seconds since 1970.
    started: f64,
}

impl Collector for Vitals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = ConstCounter::new(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
        let help = "CPU time that the process has used.";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?)?;
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)
            }
            None => Ok(()),
        };
        let started = Some(self.started);
        gauge("process_start_time_seconds", "When the process was started, in Unix time.", started)?;
        gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", resident())?;
        gauge("process_open_fds", "Files and sockets that are open.", open())?;
        gauge("process_max_fds", "Files and sockets that may be open.", most())
    }
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

fn open() -> Option<f64> {
    // One of them is what lists them.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn most() -> Option<f64> {
    Some(getrlimit(Resource::Nofile).current? as f64)
}
