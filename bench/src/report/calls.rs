//! Tables of calls that one node answers, and what the ways have against each other.

use std::fmt::Write as _;

use super::{Target, plural};
use crate::place::Place;
use crate::proxy::Way;
use crate::single::{CONNECTIONS, Round, Series};
use crate::stats::median;

/// Most CPU of a small call, as a multiple of HAProxy's.
const CPU_TARGET: f64 = 1.15;

/// The series of one kind of call, through `way` of mainstay and others.
pub(super) struct Calls<'a> {
    pub(super) all: &'a [Series],
    pub(super) mainstay: Way,
}

impl Calls<'_> {
    /// The tables, with a line before each that says where processes ran.
    pub(super) fn tables(&self) -> String {
        let mut text = String::new();
        for place in [Place::OneCore, Place::Anywhere] {
            if !self.all.iter().any(|series| series.place == place) {
                continue;
            }
            text.push_str(match place {
                Place::OneCore => "\nThe proxy on one core of its own.\n\n",
                Place::Anywhere => "\nEverything on all cores.\n\n",
            });
            text.push_str("| connections | | calls/s | of direct | p50 | p99 | CPU/call | of HAProxy |\n|---|---|---|---|---|---|---|---|\n");
            for connections in CONNECTIONS {
                for way in [Way::Direct, self.mainstay, Way::Haproxy, Way::HaproxyQueue, Way::Nginx] {
                    if let Some(rounds) = self.rounds(place, connections, way) {
                        self.row(&mut text, place, connections, way, rounds);
                    }
                }
            }
        }
        text
    }

    fn row(&self, text: &mut String, place: Place, connections: usize, way: Way, rounds: &[Round]) {
        let of = |part: fn(&Round) -> f64| median(rounds.iter().map(part));
        let rate = self.paired(place, connections, (way, Way::Direct), |round| Some(round.per_second));
        let cpu = rounds.iter().map(|round| round.cpu).collect::<Option<Vec<f64>>>().map(median);
        let ratio = self.paired(place, connections, (way, Way::Haproxy), |round| round.cpu);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let _ = writeln!(
            text,
            "| {connections} | {} | {:.0} | {} | {:.3} ms | {:.3} ms | {} | {} |",
            match way {
                Way::Direct => "direct",
                Way::Engine | Way::Rpc | Way::Beacon => "mainstay",
                Way::Haproxy => "HAProxy",
                Way::HaproxyQueue => "HAProxy with a queue",
                Way::Nginx => "nginx",
            },
            of(|round| round.per_second),
            or_dash(rate.filter(|_| way != Way::Direct).map(|rate| format!("{rate:.2} ×"))),
            of(|round| round.p50),
            of(|round| round.p99),
            or_dash(cpu.map(|cpu| format!("{cpu:.1} µs"))),
            or_dash(ratio.filter(|_| way != Way::Haproxy).map(|ratio| match way == self.mainstay {
                true => format!("**{ratio:.2} ×**"),
                false => format!("{ratio:.2} ×"),
            })),
        );
    }

    /// That a call costs little more CPU than HAProxy takes for it, at each number of connections.
    pub(super) fn cpu_targets(&self, call: &str) -> Vec<Target> {
        self.cpu_within(call, CPU_TARGET)
    }

    /// That a call costs at most so many times the CPU that HAProxy takes for it, at each number of connections.
    pub(super) fn cpu_within(&self, call: &str, most: f64) -> Vec<Target> {
        let target = |connections| {
            let ratio = self.against_haproxy(connections, |round| round.cpu);
            Target {
                what: format!("CPU of {call}, {}", plural(connections)),
                wanted: format!("at most {most} × HAProxy's"),
                found: ratio.map(|ratio| (format!("{ratio:.2} ×"), ratio <= most)),
            }
        };
        CONNECTIONS.map(target).into()
    }

    /// What mainstay has against HAProxy, by the table that targets are judged by.
    pub(super) fn against_haproxy(&self, connections: usize, part: fn(&Round) -> Option<f64>) -> Option<f64> {
        [Place::OneCore, Place::Anywhere]
            .into_iter()
            .find_map(|place| self.paired(place, connections, (self.mainstay, Way::Haproxy), part))
    }

    fn rounds(&self, place: Place, connections: usize, way: Way) -> Option<&[Round]> {
        let is_it = |s: &&Series| (s.place, s.connections, s.way) == (place, connections, way);
        self.all.iter().find(is_it).map(|series| series.rounds.as_slice())
    }

    /// The median over the rounds of what one way has against the other in the same round.
    fn paired(
        &self,
        place: Place,
        connections: usize,
        (one, other): (Way, Way),
        part: fn(&Round) -> Option<f64>,
    ) -> Option<f64> {
        let (one, other) = (self.rounds(place, connections, one)?, self.rounds(place, connections, other)?);
        let ratios: Option<Vec<f64>> =
            one.iter().zip(other).map(|(a, b)| Some(part(a)? / part(b)?)).collect();
        Some(median(ratios?))
    }
}
