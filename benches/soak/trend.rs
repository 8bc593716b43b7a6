//! [`Trend`]: whether something grows.

/// A straight line through samples, by least squares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trend {
    /// Of all samples.
    pub(crate) mean: f64,
    /// By how much it rises in a minute.
    pub(crate) slope: f64,
    /// How far the true slope may be from it, with 95 % confidence where samples err independently of each other.
    pub(crate) margin: f64,
}

impl Trend {
    /// Through points of minutes and values; three or more.
    pub(crate) fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean_of = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (middle, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let spread: f64 = points.iter().map(|(time, _)| (time - middle).powi(2)).sum();
        let slope = points.iter().map(|(time, value)| (time - middle) * (value - mean)).sum::<f64>() / spread;
        let error = |(time, value): &(f64, f64)| (value - mean - slope * (time - middle)).powi(2);
        let freedom = count - 2.0;
        let deviation = (points.iter().map(error).sum::<f64>() / freedom / spread).sqrt();
        // Student's t for 95 %, to two digits from five degrees of freedom on.
        Self { mean, slope, margin: deviation * (1.96 + 2.4 / freedom + 3.0 / freedom.powi(2)) }
    }

    /// True where it does not grow: less in a minute than `share` of the mean, or less than can be told from nothing.
    pub(crate) fn is_flat(&self, share: f64) -> bool {
        self.slope <= share * self.mean || self.slope <= self.margin
    }
}

/// The later half of the samples, after what is filled once is full.
pub(crate) fn later_half<T>(samples: &[T]) -> &[T] {
    &samples[samples.len() / 2..]
}
