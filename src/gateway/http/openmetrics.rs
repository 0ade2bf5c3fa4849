//! The text form of OpenMetrics 1.0, which Prometheus and what speaks its language read.

use std::fmt::{self, Display, Write};

use crate::gateway::tallies::Spread;

/// What it is called in `Content-Type`.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text as it grows.
#[derive(Default)]
pub(super) struct Exposition(String);

/// One family of metrics, to which samples are added.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

/// What the names of labels stand for.
type Labels<'l> = &'l [(&'l str, &'l str)];

impl Exposition {
    /// Something that only grows. `name` without `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// Something that comes and goes.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// Durations by bounds.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let text = &mut self.0;
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for unit in ["seconds", "bytes"] {
            if name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')) {
                let _ = writeln!(text, "# UNIT {name} {unit}");
            }
        }
        let _ = writeln!(text, "# HELP {name} {}", Escaped(help));
        Family { text, name }
    }

    /// All of it, with the end that shows that nothing is missing.
    pub fn finish(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }
}

impl Family<'_> {
    /// One value of a gauge.
    pub fn set(&mut self, labels: Labels<'_>, value: impl Display) {
        self.sample("", labels, value);
    }

    /// One value of a counter.
    pub fn count(&mut self, labels: Labels<'_>, value: impl Display) {
        self.sample("_total", labels, value);
    }

    /// One histogram.
    pub fn spread<const N: usize>(&mut self, labels: Labels<'_>, bounds: &[f64; N], spread: &Spread<N>) {
        let mut below = 0;
        for (bound, within) in bounds.iter().zip(spread.within) {
            below += within;
            // OpenMetrics wants these as floats: 1.0, never 1.
            let bound = format!("{bound:?}");
            self.sample("_bucket", &[labels, &[("le", &bound)]].concat(), below);
        }
        self.sample("_bucket", &[labels, &[("le", "+Inf")]].concat(), spread.count);
        self.sample("_sum", labels, spread.sum_s);
        self.sample("_count", labels, spread.count);
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", Escaped(value));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

/// The value of a label, or a help text.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_standard() {
        let mut text = Exposition::default();
        text.gauge("a_bytes", "How \"many\".\nAnd \\.").set(&[], 7);
        let mut counter = text.counter("b", "B.");
        counter.count(&[("x", "1"), ("y", "\"\\\n")], 2);
        counter.count(&[("x", "2"), ("y", "ü")], 3);
        let mut spread = Spread::default();
        for seconds in [0.5, 0.5, 2.0, 9.0] {
            spread.add(&[1.0, 2.5], seconds);
        }
        text.histogram("c_seconds", "C.")
            .spread(&[("r", "f")], &[1.0, 2.5], &spread);
        let expected = [
            "# TYPE a_bytes gauge",
            "# UNIT a_bytes bytes",
            "# HELP a_bytes How \\\"many\\\".\\nAnd \\\\.",
            "a_bytes 7",
            "# TYPE b counter",
            "# HELP b B.",
            "b_total{x=\"1\",y=\"\\\"\\\\\\n\"} 2",
            "b_total{x=\"2\",y=\"ü\"} 3",
            "# TYPE c_seconds histogram",
            "# UNIT c_seconds seconds",
            "# HELP c_seconds C.",
            "c_seconds_bucket{r=\"f\",le=\"1.0\"} 2",
            "c_seconds_bucket{r=\"f\",le=\"2.5\"} 3",
            "c_seconds_bucket{r=\"f\",le=\"+Inf\"} 4",
            "c_seconds_sum{r=\"f\"} 12",
            "c_seconds_count{r=\"f\"} 4",
            "# EOF",
            "",
        ];
        assert_eq!(text.finish(), expected.join("\n"));
    }
}
