//! Families of Prometheus as OTLP has metrics. Pure.
//!
//! Names and labels stay as `/metrics` has them, with the `_total` of counters, so that a query means the same wherever the points came from.
//! Counters and histograms are cumulative since the process began.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use crate::page::{Family, Kind, Label, Sample};

/// The times that points are told with.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Since when counters count.
    pub since: SystemTime,
    /// When the page was read.
    pub at: SystemTime,
}

/// The metrics of a page, in its order. A family without samples is left out, and a sample whose value is no number.
#[must_use]
pub fn tell(families: Vec<Family>, told: Told) -> Vec<Metric> {
    families.into_iter().filter_map(|family| metric(family, told)).collect()
}

fn metric(family: Family, told: Told) -> Option<Metric> {
    let Family { name, kind, help, unit, samples } = family;
    let (name, data) = match kind {
        Kind::Counter => {
            let points: Vec<_> =
                samples.into_iter().filter_map(|s| number(s, Some(told.since), told)).collect();
            if points.is_empty() {
                return None;
            }
            let sum = Sum { data_points: points, aggregation_temporality: CUMULATIVE, is_monotonic: true };
            (format!("{name}_total"), Data::Sum(sum))
        }
        Kind::Gauge | Kind::Info => {
            let points: Vec<_> = samples.into_iter().filter_map(|s| number(s, None, told)).collect();
            if points.is_empty() {
                return None;
            }
            let name = if kind == Kind::Info { format!("{name}_info") } else { name };
            (name, Data::Gauge(Gauge { data_points: points }))
        }
        Kind::Histogram => {
            let points = histograms(&name, samples, told);
            if points.is_empty() {
                return None;
            }
            (name, Data::Histogram(Histogram { data_points: points, aggregation_temporality: CUMULATIVE }))
        }
    };
    Some(Metric {
        name,
        description: help,
        unit: ucum(&unit).to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// The unit as OTLP writes it.
fn ucum(unit: &str) -> &str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    }
}

fn number(sample: Sample, since: Option<SystemTime>, told: Told) -> Option<NumberDataPoint> {
    let value = match sample.value.parse::<i64>() {
        Ok(whole) => Value::AsInt(whole),
        Err(_) => Value::AsDouble(double(&sample.value)?),
    };
    Some(NumberDataPoint {
        attributes: attributes(sample.labels),
        start_time_unix_nano: since.map_or(0, nanos),
        time_unix_nano: nanos(told.at),
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

/// A float as OpenMetrics writes it: `NaN` and `+Inf` too.
fn double(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// What is gathered of one series.
#[derive(Default)]
struct Series {
    /// Upper bound, and how many were up to it.
    buckets: Vec<(f64, u64)>,
    sum: Option<f64>,
    count: Option<u64>,
}

fn histograms(name: &str, samples: Vec<Sample>, told: Told) -> Vec<HistogramDataPoint> {
    let mut all: BTreeMap<Vec<Label>, Series> = BTreeMap::new();
    for Sample { name: full, mut labels, value } in samples {
        let Some(part) = full.strip_prefix(name) else { continue };
        let bound = labels.iter().position(|(label, _)| label == "le").map(|at| labels.remove(at).1);
        let series = all.entry(labels).or_default();
        match (part, bound) {
            ("_bucket", Some(bound)) => {
                if let (Some(bound), Ok(count)) = (double(&bound), value.parse()) {
                    series.buckets.push((bound, count));
                }
            }
            ("_sum", None) => series.sum = double(&value),
            ("_count", None) => series.count = value.parse().ok(),
            _ => {}
        }
    }
    all.into_iter().filter_map(|(labels, series)| series.point(labels, told)).collect()
}

impl Series {
    fn point(mut self, labels: Vec<Label>, told: Told) -> Option<HistogramDataPoint> {
        self.buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let count = self.count?;
        // There each bucket counts all below it too, here it counts its own; the last one, up to infinity, has no bound of its own.
        let mut below = 0;
        let mut own = |upto: u64| upto.saturating_sub(std::mem::replace(&mut below, upto));
        let finite: Vec<_> = self.buckets.iter().filter(|(bound, _)| bound.is_finite()).collect();
        let mut bucket_counts: Vec<u64> = finite.iter().map(|(_, upto)| own(*upto)).collect();
        bucket_counts.push(own(count));
        Some(HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: nanos(told.since),
            time_unix_nano: nanos(told.at),
            count,
            sum: self.sum,
            bucket_counts,
            explicit_bounds: finite.iter().map(|(bound, _)| *bound).collect(),
            ..HistogramDataPoint::default()
        })
    }
}

fn attributes(labels: Vec<Label>) -> Vec<KeyValue> {
    labels.into_iter().map(|(key, value)| attribute(key, value)).collect()
}

/// An attribute that is text.
pub(crate) fn attribute(key: String, value: String) -> KeyValue {
    let value = Some(Any { value: Some(AnyValue::StringValue(value)) });
    KeyValue { key, value, ..KeyValue::default() }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Labelled;
    use prometheus_client::metrics::gauge::Gauge as Level;
    use prometheus_client::metrics::histogram::Histogram as Buckets;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};
    use proptest::prelude::*;

    use super::*;
    use crate::page::read;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn told(registry: &Registry) -> Vec<Metric> {
        let mut page = String::new();
        encode(&mut page, registry).unwrap();
        tell(read(&page), Told { since: at(1), at: at(2) })
    }

    fn labels(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
        let text = |kv: &KeyValue| match kv.value.clone().unwrap().value.unwrap() {
            AnyValue::StringValue(text) => text,
            other => panic!("{other:?}"),
        };
        attributes.iter().map(|kv| (kv.key.as_str(), &*text(kv).leak())).collect()
    }

    #[test]
    fn a_counter_is_a_cumulative_sum_with_its_name_on_the_page() {
        let mut registry = Registry::default();
        let family = Labelled::<[(&'static str, &'static str); 2], Counter>::default();
        family.get_or_create(&[("rpc", "a"), ("lane", "low")]).inc_by(9_007_199_254_740_993);
        registry.register("mainstay_rpc_requests", "Requests", family);
        let seconds = Counter::<f64, std::sync::atomic::AtomicU64>::default();
        seconds.inc_by(1.5);
        registry.register_with_unit("process_cpu", "CPU", Unit::Seconds, seconds);

        let all = told(&registry);
        let names: Vec<_> =
            all.iter().map(|m| (m.name.as_str(), m.unit.as_str(), m.description.as_str())).collect();
        assert_eq!(
            names,
            [("mainstay_rpc_requests_total", "", "Requests."), ("process_cpu_seconds_total", "s", "CPU.")]
        );
        let Some(Data::Sum(sum)) = &all[0].data else { panic!("{all:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
        let point = &sum.data_points[0];
        assert_eq!(labels(&point.attributes), [("rpc", "a"), ("lane", "low")]);
        assert_eq!(point.value, Some(Value::AsInt(9_007_199_254_740_993)), "no float can hold it");
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_000_000_000, 2_000_000_000));
        let Some(Data::Sum(sum)) = &all[1].data else { panic!("{all:?}") };
        assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(1.5)));
    }

    #[test]
    fn gauges_and_what_is_only_information() {
        let mut registry = Registry::default();
        let level = Level::<i64>::default();
        level.set(-4);
        registry.register("mainstay_level", "A level", level);
        registry.register("mainstay_build", "Which", Info::new(vec![("version", "1.2.3")]));
        let all = told(&registry);
        let Some(Data::Gauge(level)) = &all[0].data else { panic!("{all:?}") };
        assert_eq!(level.data_points[0].value, Some(Value::AsInt(-4)));
        assert_eq!(level.data_points[0].start_time_unix_nano, 0, "a gauge counts since nothing");
        let Some(Data::Gauge(info)) = &all[1].data else { panic!("{all:?}") };
        assert_eq!(all[1].name, "mainstay_build_info");
        assert_eq!(labels(&info.data_points[0].attributes), [("version", "1.2.3")]);
    }

    #[test]
    fn a_histogram_has_a_point_for_each_series_and_counts_of_each_bucket_alone() {
        let mut registry = Registry::default();
        type Of = Labelled<[(&'static str, &'static str); 1], Buckets, fn() -> Buckets>;
        let family = Of::new_with_constructor(|| Buckets::new([0.1, 1.0]));
        for (node, took) in [("a", 0.05), ("a", 0.5), ("a", 0.6), ("a", 7.0), ("b", 0.1)] {
            family.get_or_create(&[("node", node)]).observe(took);
        }
        registry.register("took_seconds", "Time", family);
        let all = told(&registry);
        let Some(Data::Histogram(histogram)) = &all[0].data else { panic!("{all:?}") };
        let points: Vec<_> = histogram
            .data_points
            .iter()
            .map(|p| (labels(&p.attributes), p.count, p.bucket_counts.clone(), p.explicit_bounds.clone()))
            .collect();
        let bounds = vec![0.1, 1.0];
        assert_eq!(
            points,
            [
                (vec![("node", "a")], 4, vec![1, 2, 1], bounds.clone()),
                (vec![("node", "b")], 1, vec![1, 0, 0], bounds)
            ]
        );
        assert!((histogram.data_points[0].sum.unwrap() - 8.15).abs() < 1e-9);
        assert_eq!(histogram.data_points[0].start_time_unix_nano, 1_000_000_000);
    }

    #[test]
    fn a_family_without_a_number_is_left_out() {
        let page =
            "# TYPE a counter\n# TYPE b gauge\nb x\n# TYPE c histogram\nc_sum 1.0\n# TYPE d gauge\nd 1\n";
        let all = tell(read(page), Told { since: at(1), at: at(2) });
        assert_eq!(all.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["d"]);
    }

    proptest! {
        /// Whatever is observed, buckets add up to the count.
        #[test]
        fn buckets_add_up(observed in prop::collection::vec(-1.0f64..20.0, 0..50)) {
            let mut registry = Registry::default();
            let buckets = Buckets::new([0.5, 1.0, 5.0]);
            observed.iter().for_each(|value| buckets.observe(*value));
            registry.register("a", "A", buckets);
            let all = told(&registry);
            let Some(Data::Histogram(histogram)) = &all[0].data else { panic!("{all:?}") };
            let point = &histogram.data_points[0];
            prop_assert_eq!(point.bucket_counts.len(), 4);
            prop_assert_eq!(point.bucket_counts.iter().sum::<u64>(), observed.len() as u64);
            prop_assert_eq!(point.count, observed.len() as u64);
            let first = observed.iter().filter(|value| **value <= 0.5).count() as u64;
            prop_assert_eq!(point.bucket_counts[0], first);
        }
    }
}
