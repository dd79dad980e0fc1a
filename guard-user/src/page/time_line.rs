//! How the rates went, look by look.

use maud::{Markup, html};

use super::table::{number, table, word};
use crate::live::known::Known;
use crate::live::rates::Amount;
use crate::report::number::{bytes, grouped};

/// Units of a chart.
const WIDTH: usize = 720;
const HEIGHT: u64 = 80;

/// Both courses.
pub(super) fn time_line(known: &Known) -> Markup {
    let passed: Vec<u64> = known.course.iter().map(|(passed, _)| passed.bytes).collect();
    let forbidden: Vec<u64> = known.course.iter().map(|(_, forbidden)| forbidden.packets).collect();
    let a_second = |shown: String| format!("{shown} a second");
    html! {
        (chart("Passed, bytes a second", "passed", &passed, |it| a_second(bytes(it))))
        (chart("Forbidden, packets a second", "forbidden", &forbidden, |it| a_second(grouped(it))))
        (table("By verdict", &[word("verdict"), number("packets a second"), number("bytes a second"), number("packets"), number("bytes")], html! {
            @for verdict in ["pass", "observe", "flag", "drop"] {
                tr {
                    th scope="row" { (verdict) }
                    @match known.rates.as_ref().map(|rates| rates.of_verdict(verdict)) {
                        Some(rate) => { td.n { (grouped(rate.packets)) } td.n { (bytes(rate.bytes)) } }
                        None => { td.n { "-" } td.n { "-" } }
                    }
                    @let all = known.counts.as_ref().map_or(Amount::default(), |counts| counts.of_verdict(verdict));
                    td.n { (grouped(all.packets)) }
                    td.n { (bytes(all.bytes)) }
                }
            }
        }))
    }
}

fn chart(title: &str, class: &str, values: &[u64], shown: impl Fn(u64) -> String) -> Markup {
    let most = values.iter().copied().max().unwrap_or(0);
    let last = values.last().copied().unwrap_or(0);
    let said = match values.len() {
        0 => format!("{title}: not known yet"),
        looks => format!("{title}: {} now, {} at most, in {looks} looks", shown(last), shown(most)),
    };
    let step = WIDTH / known_looks();
    let first = known_looks().saturating_sub(values.len());
    html! {
        figure {
            figcaption { (said) }
            svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(said) {
                @for (at, value) in values.iter().enumerate() {
                    @let high = scaled(*value, most);
                    @if high > 0 {
                        rect class=(class) x=((first + at) * step) y=(HEIGHT - high) width=(step) height=(high) {}
                    }
                }
                path.axis d=(format!("M0 {HEIGHT}H{WIDTH}")) {}
            }
        }
    }
}

const fn known_looks() -> usize {
    crate::live::known::COURSE
}

/// A value as a height; one that is not 0 is seen.
fn scaled(value: u64, most: u64) -> u64 {
    if value == 0 {
        return 0;
    }
    let high = u128::from(value) * u128::from(HEIGHT) / u128::from(most.max(1));
    u64::try_from(high).unwrap_or(HEIGHT).clamp(1, HEIGHT)
}
