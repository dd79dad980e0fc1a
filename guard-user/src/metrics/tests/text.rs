//! Both formats, and which one a scraper gets. `promtool` and the real server judge them in the end-to-end suite.

use proptest::prelude::*;

use crate::metrics::family::Metric;
use crate::metrics::text::{Format, write};
use crate::metrics::values::Values;

#[test]
fn a_scraper_gets_what_it_asks_for() {
    // What Prometheus 2.42 sends, and later versions.
    let of_server = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for accept in [
        of_server,
        "application/openmetrics-text",
        "Application/OpenMetrics-Text; Version=1.0.0",
        "text/plain;q=0.2, application/openmetrics-text;q=0.3",
    ] {
        assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
    }
    for accept in [
        "",
        "*/*",
        "text/plain",
        "text/html,*/*;q=0.8",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.4,text/plain;q=0.5",
        "application/openmetrics-text;q=NaN",
        ";;;,,,=,q=",
    ] {
        assert_eq!(Format::accepted(accept), Format::Prometheus, "{accept}");
    }
}

#[test]
fn the_formats_differ_where_they_must() {
    let mut values = Values::default();
    values.count(Metric::BuildInfo, &["0.1", "6.12"], 1);
    values.count(Metric::UntaggedBytes, &["US"], u64::MAX);
    assert_eq!(
        write(&values, Format::Prometheus),
        "# HELP borderguard_build_info Version of the daemon, and release of the kernel.\n\
         # TYPE borderguard_build_info gauge\n\
         borderguard_build_info{version=\"0.1\",kernel=\"6.12\"} 1\n\
         # HELP borderguard_untagged_bytes_total Their bytes on the wire.\n\
         # TYPE borderguard_untagged_bytes_total counter\n\
         borderguard_untagged_bytes_total{jurisdiction=\"US\"} 18446744073709551615\n"
    );
    assert_eq!(
        write(&values, Format::OpenMetrics),
        "# HELP borderguard_build Version of the daemon, and release of the kernel.\n\
         # TYPE borderguard_build info\n\
         borderguard_build_info{version=\"0.1\",kernel=\"6.12\"} 1\n\
         # HELP borderguard_untagged_bytes Their bytes on the wire.\n\
         # TYPE borderguard_untagged_bytes counter\n\
         # UNIT borderguard_untagged_bytes bytes\n\
         borderguard_untagged_bytes_total{jurisdiction=\"US\"} 18446744073709551615\n\
         # EOF\n"
    );
}

/// The value of the first label of a line, read back by the rules of the formats.
fn read_back(line: &str) -> Option<(String, &str)> {
    let (_, rest) = line.split_once("=\"")?;
    let (mut value, mut characters) = (String::new(), rest.char_indices());
    loop {
        match characters.next()?.1 {
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                it @ ('\\' | '"') => value.push(it),
                _ => return None,
            },
            '"' => return Some((value, characters.as_str())),
            it => value.push(it),
        }
    }
}

proptest! {
    /// No text in a label ends its line, its quotes or its sample, nor reaches a terminal as an order.
    #[test]
    fn a_label_is_read_back_whatever_it_is(label in "(?s).{0,40}") {
        let mut values = Values::default();
        values.count(Metric::DatabaseInfo, &[&label], 1);
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let text = write(&values, format);
            let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            prop_assert_eq!(samples.len(), 1);
            let (back, rest) = read_back(samples[0]).unwrap();
            let shown = |it: char| if it.is_control() && it != '\n' { '\u{fffd}' } else { it };
            prop_assert_eq!(back, label.chars().map(shown).collect::<String>());
            prop_assert_eq!(rest, "} 1");
            prop_assert!(text.chars().all(|it| !it.is_control() || it == '\n'));
        }
    }

    #[test]
    fn any_header_has_a_format(accept in "(?s).{0,80}") {
        let format = Format::accepted(&accept);
        let names_it = accept.to_ascii_lowercase().contains("application/openmetrics-text");
        prop_assert!(format == Format::Prometheus || names_it);
    }
}
