//! The last hour of every figure, in memory: one sample each [`EVERY`], [`SAMPLES`] of them, [`SERIES`] figures at most. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_node::Figure;
use serde::Serialize;

/// Time between two samples.
pub(crate) const EVERY: Duration = Duration::from_secs(5);
/// Samples that are kept: an hour of them.
pub(crate) const SAMPLES: usize = 720;
/// Figures that are kept, of all roles together: 3 KB each.
pub(crate) const SERIES: usize = 512;

/// A figure and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Of {
    role: &'static str,
    name: String,
    of: String,
    figure: &'static str,
    unit: &'static str,
}

impl Of {
    /// What `figure` is of, in the role of this kind and name.
    pub(crate) fn new(role: &'static str, name: &str, figure: &Figure) -> Self {
        let Figure { of, figure, unit, .. } = figure;
        Self { role, name: name.to_owned(), of: of.clone(), figure, unit }
    }
}

/// A figure over time; samples without it are NaN, `null` in JSON.
#[derive(Debug, Serialize)]
struct Series {
    #[serde(flatten)]
    of: Of,
    values: VecDeque<f32>,
}

/// A value that was sampled.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    #[serde(flatten)]
    pub(crate) of: Of,
    pub(crate) value: f32,
}

/// One sample of everything.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    /// In milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) points: Vec<Point>,
}

/// The last hour.
#[derive(Debug, Default, Serialize)]
pub(crate) struct History {
    /// When each sample was taken, in milliseconds since 1970, the oldest first.
    at_ms: VecDeque<u64>,
    /// Each with as many values as there are times.
    series: Vec<Series>,
}

impl History {
    /// Adds a sample. A figure that is new has no values before; one that has none left is forgotten.
    pub(crate) fn add(&mut self, sample: &Sample) {
        if self.at_ms.len() == SAMPLES {
            self.at_ms.pop_front();
            for series in &mut self.series {
                series.values.pop_front();
            }
        }
        for series in &mut self.series {
            series.values.push_back(f32::NAN);
        }
        for point in &sample.points {
            let known = self.series.iter_mut().find(|series| series.of == point.of);
            if let Some(last) = known.and_then(|series| series.values.back_mut()) {
                *last = point.value;
                continue;
            }
            if self.series.len() < SERIES {
                let mut values: VecDeque<f32> = std::iter::repeat_n(f32::NAN, self.at_ms.len()).collect();
                values.push_back(point.value);
                self.series.push(Series { of: point.of.clone(), values });
            }
        }
        self.at_ms.push_back(sample.at_ms);
        // What hasn't been seen for an hour is gone.
        self.series.retain(|series| series.values.iter().any(|value| !value.is_nan()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn sample(at_ms: u64, figures: &[(&str, f64)]) -> Sample {
        let point = |(of, value): &(&str, f64)| {
            let figure = Figure::new(*of, "latency", "ms", *value);
            #[allow(clippy::cast_possible_truncation)]
            Point { of: Of::new("engine", "engine", &figure), value: *value as f32 }
        };
        Sample { at_ms, points: figures.iter().map(point).collect() }
    }

    fn shown(history: &History) -> Vec<(String, Vec<Value>)> {
        let json = serde_json::to_value(history).unwrap();
        let series = json["series"].as_array().unwrap().iter();
        series
            .map(|one| (one["of"].as_str().unwrap().to_owned(), one["values"].as_array().unwrap().clone()))
            .collect()
    }

    #[test]
    fn figures_come_and_go() {
        let mut history = History::default();
        history.add(&sample(1, &[("el1", 1.5)]));
        history.add(&sample(2, &[("el1", 2.0), ("el2", 7.0)]));
        history.add(&sample(3, &[("el2", 8.0)]));
        assert_eq!(
            shown(&history),
            [
                ("el1".to_owned(), vec![json!(1.5), json!(2.0), Value::Null]),
                ("el2".to_owned(), vec![Value::Null, json!(7.0), json!(8.0)]),
            ]
        );
        for at in 0..SAMPLES as u64 {
            history.add(&sample(10 + at, &[("el2", 9.0)]));
        }
        let series = shown(&history);
        assert_eq!(series.len(), 1, "who hasn't been seen for an hour is forgotten");
        assert_eq!(series[0].1.len(), SAMPLES);
        assert_eq!(history.at_ms.len(), SAMPLES);
        assert_eq!(history.at_ms[0], 10);
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        let names: Vec<String> = (0..2 * SERIES).map(|nth| nth.to_string()).collect();
        let many: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        history.add(&sample(1, &many));
        history.add(&sample(2, &many));
        assert_eq!(history.series.len(), SERIES);
        assert!(history.series.iter().all(|series| series.values.len() == 2));
    }
}
