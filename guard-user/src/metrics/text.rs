//! Prometheus text (0.0.4) and OpenMetrics (1.0.0), and which of them a scraper takes.
//!
//! Written here because no kept crate writes both: `prometheus-client` writes OpenMetrics alone, `prometheus` the older
//! text alone, and each holds counters of its own, where these are read from a status.

use std::fmt::Write as _;

use super::family::{Family, Kind};
use super::values::{Sample, Value, Values};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Its media type, for the header `Content-Type`.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The one that this header `Accept` prefers (RFC 9110, section 12.5.1): OpenMetrics where it is named in a version
    /// that is written here and weighs no less than plain text, else Prometheus text.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut plain) = (0, 0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut is_known) = (1000, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
                    ("q", value) => weight = thousandths(value),
                    ("version", value) => is_known = matches!(value, "1.0.0" | "0.0.1"),
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if is_known => open = open.max(weight),
                "text/plain" | "text/*" | "*/*" => plain = plain.max(weight),
                _ => {}
            }
        }
        if open > 0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// A weight in thousandths; 0 where it is none.
fn thousandths(text: &str) -> u16 {
    let weight: f64 = text.parse().unwrap_or(0.0);
    // Within 0 to 1 the product is a small whole number.
    (weight.clamp(0.0, 1.0) * 1000.0) as u16
}

/// Writes all of them.
#[must_use]
pub fn write(values: &Values, format: Format) -> String {
    let mut text = String::new();
    for (metric, samples) in values.iter() {
        let family = metric.family();
        head(&mut text, family, format);
        for sample in samples {
            line(&mut text, family, sample);
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

/// The lines before the samples. OpenMetrics names the family without the suffix that its kind has.
fn head(text: &mut String, family: &Family, format: Format) {
    let (name, kind) = match (format, family.kind) {
        (Format::Prometheus, Kind::Info) => (family.name, "gauge"),
        (Format::Prometheus, kind) => (family.name, kind.name()),
        (Format::OpenMetrics, kind) => (stem(family), kind.name()),
    };
    text.extend(["# HELP ", name, " ", family.help, "\n# TYPE ", name, " ", kind, "\n"]);
    let unit = ["bytes", "seconds"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
    if let (Format::OpenMetrics, Some(unit)) = (format, unit) {
        text.extend(["# UNIT ", name, " ", unit, "\n"]);
    }
}

fn stem(family: &Family) -> &'static str {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge => "",
    };
    family.name.strip_suffix(suffix).unwrap_or(family.name)
}

fn line(text: &mut String, family: &Family, sample: &Sample) {
    text.push_str(family.name);
    let mut before = '{';
    for (name, value) in family.labels.iter().zip(&sample.labels) {
        text.push(before);
        before = ',';
        text.extend([*name, "=\""]);
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                // No name has one; it must not reach a terminal.
                control if control.is_control() => text.push('\u{fffd}'),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text.push_str(if before == ',' { "} " } else { " " });
    let _always_fits = match sample.value {
        Value::Count(count) => write!(text, "{count}"),
        Value::At(at) => write!(text, "{}", at.as_millisecond() as f64 / 1000.0),
    };
    text.push('\n');
}
