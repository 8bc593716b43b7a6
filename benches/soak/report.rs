//! [`Report`]: the results of a run as tables, CSV and a chart.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sample::Sample;
use crate::verdict::Verdict;

/// The chart's size in pixels, and the margin for its labels.
const SIZE: (f64, f64) = (720.0, 240.0);
const MARGIN: f64 = 48.0;

/// The results of a finished run.
pub(crate) struct Report {
    pub(crate) minutes: f64,
    /// Queries per second.
    pub(crate) rate: f64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) verdict: Verdict,
}

impl Report {
    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let Self { minutes, rate, verdict, .. } = self;
        format!("# Namegate over {minutes} minutes at {rate} queries per second\n\n{}", verdict.markdown())
    }

    /// Writes `soak.md`, `soak.csv` and `soak.svg`; returns the path of `soak.md`.
    pub(crate) fn store(&self, directory: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let path = directory.join("soak.md");
        fs::write(&path, self.markdown() + "\n![memory](soak.svg)\n")?;
        fs::write(path.with_extension("csv"), self.csv())?;
        fs::write(path.with_extension("svg"), self.chart())?;
        Ok(path)
    }

    fn csv(&self) -> String {
        let mut text = format!("{}\n", Sample::HEAD);
        for sample in &self.samples {
            let _ = writeln!(text, "{sample}");
        }
        text
    }

    /// Memory over time: resident, and the part used by cache entries.
    fn chart(&self) -> String {
        let (width, height) = SIZE;
        let end = self.samples.last().map_or(1.0, |sample| sample.at.as_secs_f64());
        let most = self.samples.iter().map(|sample| sample.resident).max().unwrap_or(1) as f64 * 1.1;
        let curve = |of: fn(&Sample) -> f64| {
            let point = |sample: &Sample| {
                let x = MARGIN + sample.at.as_secs_f64() / end * (width - 2.0 * MARGIN);
                let y = height - MARGIN - of(sample) / most * (height - 2.0 * MARGIN);
                format!("{x:.1},{y:.1}")
            };
            self.samples.iter().map(point).collect::<Vec<_>>().join(" ")
        };
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<rect width="{width}" height="{height}" fill="#fff"/>
<path d="M{MARGIN} {MARGIN}V{bottom}H{right}" fill="none" stroke="#888"/>
<text x="{MARGIN}" y="{above}">{mebibytes:.0} MiB</text>
<text x="{right}" y="{below}" text-anchor="end">{minutes:.1} min</text>
<text x="{MARGIN}" y="{below}"><tspan fill="#1668b8">memory (RSS)</tspan>, <tspan fill="#b85c16">cache entries</tspan></text>
<polyline points="{resident}" fill="none" stroke="#1668b8"/>
<polyline points="{cache}" fill="none" stroke="#b85c16"/>
</svg>
"##,
            bottom = height - MARGIN,
            right = width - MARGIN,
            above = MARGIN - 8.0,
            below = height - MARGIN + 20.0,
            mebibytes = most / f64::from(1 << 20),
            minutes = end / 60.0,
            resident = curve(|sample| sample.resident as f64),
            cache = curve(|sample| sample.cache_bytes),
        )
    }
}
