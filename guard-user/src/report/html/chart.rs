//! Bar charts as inline SVG: no script, a title and a description for readers who cannot see them, colours from the
//! page's style.

use maud::{Markup, html};

use super::super::sums::{Bucket, Unit};
use crate::report::number::grouped;
use crate::text::visible;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;
/// The colours of the style, `s0` to `s6`; the last is for the rest.
pub(super) const COLOURS: usize = 7;
/// Labels on the time axis, at most.
const LABELS: usize = 8;

/// Values of one colour, one for each bucket of the axis.
pub(super) struct Series {
    pub(super) name: String,
    /// Its class in the style.
    pub(super) colour: &'static str,
    pub(super) values: Vec<u64>,
}

/// What a chart shows.
pub(super) struct Chart<'a> {
    /// For references within the page; a name of this program's own.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// What is to be seen, in a sentence.
    pub(super) description: String,
    pub(super) axis: &'a [Bucket],
    pub(super) unit: Unit,
    pub(super) series: Vec<Series>,
}

impl Chart<'_> {
    /// The chart with its legend; a sentence where there is nothing to show.
    pub(super) fn draw(&self) -> Markup {
        html! {
            figure {
                figcaption { (self.title) }
                @if self.highest() == 0 {
                    p.faint { "None in this period." }
                } @else {
                    (self.bars())
                    ul.legend {
                        @for series in &self.series {
                            li {
                                span.swatch.(series.colour) {}
                                (visible(&series.name)) ": "
                                (grouped(sum(&series.values))) " bytes"
                            }
                        }
                    }
                }
            }
        }
    }

    /// The height of the highest bar.
    fn highest(&self) -> u64 {
        (0..self.axis.len())
            .map(|at| self.stack(at).map(|(_, value)| value).fold(0, u64::saturating_add))
            .max()
            .unwrap_or(0)
    }

    fn stack(&self, at: usize) -> impl Iterator<Item = (&Series, u64)> {
        self.series.iter().map(move |series| (series, series.values.get(at).copied().unwrap_or(0)))
    }

    fn bars(&self) -> Markup {
        let step = step(self.highest());
        let top = (self.highest() as f64 / step).ceil() * step;
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
        let slot = (WIDTH - LEFT - RIGHT) / self.axis.len() as f64;
        let bar = (slot * 0.8).min(44.0);
        let x = |at: usize| LEFT + slot * (at as f64 + 0.5);
        let ticks = (0_u32..).map(|tick| f64::from(tick) * step).take_while(|value| *value <= top * 1.001);
        let labelled = self.axis.len().div_ceil(LABELS);
        let (title, description) = (format!("{}-title", self.id), format!("{}-description", self.id));
        html! {
            svg role="img" aria-labelledby={ (title) " " (description) } viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                title id=(title) { (self.title) }
                desc id=(description) { (self.description) }
                @for value in ticks {
                    line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(place(y(value))) y2=(place(y(value))) {}
                    text x=(LEFT - 6.0) y=(place(y(value) + 4.0)) text-anchor="end" { (scaled(value)) "B" }
                }
                @for (at, bucket) in self.axis.iter().enumerate() {
                    @if at % labelled == 0 {
                        text x=(place(x(at))) y=(HEIGHT - 10.0) text-anchor="middle" { (self.unit.label(*bucket)) }
                    }
                    @for (series, value, below) in self.pieces(at) {
                        rect.bar.(series.colour) x=(place(x(at) - bar / 2.0)) width=(place(bar))
                            y=(place(y(below + value as f64)))
                            height=(place(y(below) - y(below + value as f64))) {
                            title {
                                (self.unit.label(*bucket)) " " (visible(&series.name)) ": "
                                (grouped(value)) " bytes"
                            }
                        }
                    }
                }
            }
        }
    }

    /// The pieces of one bar, each with what is below it.
    fn pieces(&self, at: usize) -> Vec<(&Series, u64, f64)> {
        let mut below = 0.0;
        let pieces = self.stack(at).filter(|(_, value)| *value > 0).map(|(series, value)| {
            let piece = (series, value, below);
            below += value as f64;
            piece
        });
        pieces.collect()
    }
}

pub(super) fn sum(values: &[u64]) -> u64 {
    values.iter().copied().fold(0, u64::saturating_add)
}

/// The distance of the lines: 1, 2 or 5 times a power of ten, so that there are 3 to 6 of them.
fn step(highest: u64) -> f64 {
    let rough = (highest.max(1) as f64 / 4.0).max(1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    factors.into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(rough)
}

/// A number of the axis, with a decimal prefix (SI); the unit follows.
fn scaled(value: f64) -> String {
    let prefixes = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match prefixes.into_iter().find(|(size, _)| value >= *size) {
        Some((size, prefix)) => format!("{} {prefix}", value / size),
        None => format!("{value} "),
    }
}

/// A coordinate.
fn place(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_at_round_numbers() {
        for highest in [1, 4, 9, 10, 99, 1_234, 5_000_000_000, u64::MAX] {
            let step = step(highest);
            let lines = (highest as f64 / step).ceil();
            assert!((1.0..=5.0).contains(&lines), "{highest}: {lines} lines of {step}");
        }
        assert_eq!((step(5_000_000_000), step(3)), (2e9, 1.0));
        assert_eq!([0.0, 500.0, 2e9, 1.5e3].map(scaled), ["0 ", "500 ", "2 G", "1.5 k"]);
    }
}
