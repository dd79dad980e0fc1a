//! Tests of reports in all their forms.

mod agree;
mod documentation;
mod dom;
mod page;
mod redacted;
pub(crate) mod sample;

use super::{Format, Report, render};

/// The report in this form.
fn rendered(report: &Report, format: Format) -> String {
    let mut out = Vec::new();
    render(report, format, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The rows of the CSV form, each cell by its column's name.
fn rows(report: &Report) -> Vec<std::collections::HashMap<String, String>> {
    let text = rendered(report, Format::Csv);
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

/// `borderguard report | head` ends without a complaint: a closed pipe is seen as one.
#[test]
fn an_output_that_is_closed_is_said_to_be() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // More than the table's writer keeps back.
    let mut report = sample::sample();
    report.host = "a".repeat(1 << 20);
    for format in [Format::Csv, Format::Json, Format::Html] {
        let error = render(&report, format, &mut Closed).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{format:?}");
    }
}
