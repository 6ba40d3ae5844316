//! What was measured: medians with their spread, as a table and as JSON lines.

use std::fmt::Write;
use std::path::Path;

use crate::contender::Kind;

/// All figures so far, in the order in which they first came.
#[derive(Default)]
pub struct Report {
    series: Vec<Series>,
    /// Who could not do what, and why.
    left_out: Vec<(Kind, String)>,
}

struct Series {
    measure: String,
    unit: &'static str,
    contender: String,
    values: Vec<f64>,
}

impl Report {
    /// Adds one run's figure.
    pub fn add(&mut self, measure: &str, unit: &'static str, contender: &str, value: f64) {
        let same = |it: &&mut Series| it.measure == measure && it.contender == contender;
        match self.series.iter_mut().find(same) {
            Some(series) => series.values.push(value),
            None => {
                let (measure, contender) = (measure.into(), contender.into());
                self.series.push(Series { measure, unit, contender, values: vec![value] });
            }
        }
    }

    pub fn leave_out(&mut self, kind: Kind, measure: &str, why: &str) {
        let line = format!("{measure}: {}: {why}", kind.name());
        eprintln!("left out: {line}");
        self.left_out.push((kind, line));
    }

    /// Those that could not do all.
    pub fn failed(&self) -> Vec<Kind> {
        self.left_out.iter().map(|(kind, _)| *kind).collect()
    }

    /// One block for each measure. The last column is this library's figure in times of the line's.
    pub fn table(&self) -> String {
        let mut out = format!(
            "\n{:38}{:>11}{:>23}{:>6}{:>12}\n",
            "", "median", "quartiles", "runs", "econtext/it"
        );
        let mut measures: Vec<&Series> = vec![];
        for series in &self.series {
            if !measures.iter().any(|it| it.measure == series.measure) {
                measures.push(series);
            }
        }
        for Series { measure, unit, .. } in measures {
            let _ = writeln!(out, "\n{measure}, {unit}");
            let of_this: Vec<_> = self.series.iter().filter(|it| it.measure == *measure).collect();
            let own = of_this.iter().find(|it| it.contender == Kind::Econtext.name());
            for series in &of_this {
                let [low, median, high] = series.quartiles();
                let spread = format!("{} .. {}", shown(low), shown(high));
                let ratio = match own {
                    Some(own) if own.contender != series.contender && median > 0.0 => {
                        format!("{:.2}", own.quartiles()[1] / median)
                    }
                    _ => String::new(),
                };
                let (name, median, runs) = (&series.contender, shown(median), series.values.len());
                let line = format!("  {name:36}{median:>11}{spread:>23}{runs:>6}{ratio:>12}");
                let _ = writeln!(out, "{}", line.trim_end());
            }
        }
        if !self.left_out.is_empty() {
            let _ = writeln!(out, "\nLeft out:");
            for (_, line) in &self.left_out {
                let _ = writeln!(out, "  {line}");
            }
        }
        out
    }

    /// Writes one JSON object a line for each measure and contender.
    pub fn write_json(&self, path: &Path) -> Result<(), String> {
        let mut lines = String::new();
        for series in &self.series {
            let Series { measure, unit, contender, values } = series;
            let [low, median, high] = series.quartiles();
            // The names are ours: Rust's way to quote them is also JSON's.
            let _ = writeln!(
                lines,
                "{{\"measure\": {measure:?}, \"contender\": {contender:?}, \"unit\": {unit:?}, \"runs\": {}, \
                 \"median\": {median}, \"low\": {low}, \"high\": {high}}}",
                values.len()
            );
        }
        std::fs::write(path, lines).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Series {
    /// The lower quartile, the median and the upper one; of three runs, all three.
    fn quartiles(&self) -> [f64; 3] {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        [last / 4, last / 2, last - last / 4].map(|at| values[at])
    }
}

/// Three figures or so of it.
fn shown(value: f64) -> String {
    match value.abs() {
        small if small < 1.0 => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let groups = digits.as_bytes().rchunks(3).rev();
            let groups: Vec<_> = groups.map(|it| String::from_utf8_lossy(it)).collect();
            groups.join(",")
        }
    }
}
