//! [`Trend`]: detects growth in a series of samples.

/// A straight line through samples, by least squares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trend {
    /// Mean of all samples.
    pub(crate) mean: f64,
    /// Increase per minute.
    pub(crate) slope: f64,
    /// 95 % confidence interval of the slope (plus or minus), if errors of samples are independent.
    pub(crate) margin: f64,
}

impl Trend {
    /// Fits (minutes, value) points; needs at least three.
    pub(crate) fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean_of = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (middle, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let spread: f64 = points.iter().map(|(time, _)| (time - middle).powi(2)).sum();
        let slope = points.iter().map(|(time, value)| (time - middle) * (value - mean)).sum::<f64>() / spread;
        let error = |(time, value): &(f64, f64)| (value - mean - slope * (time - middle)).powi(2);
        let freedom = count - 2.0;
        let deviation = (points.iter().map(error).sum::<f64>() / freedom / spread).sqrt();
        // Student's t for 95 %, to two digits from five degrees of freedom up.
        Self { mean, slope, margin: deviation * (1.96 + 2.4 / freedom + 3.0 / freedom.powi(2)) }
    }

    /// True if there is no growth: the slope per minute is below `share` of the mean, or not significant.
    pub(crate) fn is_flat(&self, share: f64) -> bool {
        self.slope <= share * self.mean || self.slope <= self.margin
    }
}

/// The later half of the samples, when caches and pools are full.
pub(crate) fn later_half<T>(samples: &[T]) -> &[T] {
    &samples[samples.len() / 2..]
}
