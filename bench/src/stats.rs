//! Percentiles and medians.

use std::time::Duration;

/// Latencies, sorted.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// Those of several measurements.
    pub(crate) fn of_all(several: impl IntoIterator<Item = Self>) -> Self {
        Self::new(several.into_iter().flat_map(|one| one.0).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that `part` (0 to 1) of the calls did not exceed, in milliseconds.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 ≤ rank ≤ count
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    }
}

/// The median; of an even number the mean of the middle two. NaN of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let latencies = Latencies::new((1..=100).rev().map(Duration::from_millis).collect());
        let near = |part: f64, wanted: f64| assert!((latencies.percentile(part) - wanted).abs() < 1e-9);
        near(0.5, 50.0);
        near(0.99, 99.0);
        near(1.0, 100.0);
        near(0.0, 1.0);
        assert!(Latencies::new(Vec::new()).percentile(0.5).is_nan());
    }

    #[test]
    fn the_median_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
    }
}
