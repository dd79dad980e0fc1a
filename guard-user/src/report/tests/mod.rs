//! Tests of reports in all their forms.

mod agree;
mod by_law;
mod documentation;
mod dom;
mod page;
mod redacted;
pub(crate) mod sample;

use super::{ApprovalEntry, Format, Report, render};

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

/// Who wrote a document and signs it as well is not needed for that.
#[test]
fn who_signed_in_no_role_that_counts_is_told_as_such_in_each_form() {
    let mut report = sample::sample();
    let (identity, key) = ("aoife@example.org".to_owned(), "SHA256:aoife".to_owned());
    report.exemptions[0].approvals.push(ApprovalEntry { identity, roles: Vec::new(), key });
    let is_hers = |row: &&std::collections::HashMap<String, String>| {
        row["section"] == "approval" && row["name"] == "aoife@example.org"
    };
    let rows = rows(&report);
    let row = rows.iter().find(is_hers).unwrap();
    assert_eq!(row["value"], "no role that counts; SHA256:aoife");
    assert!(rendered(&report, Format::Html).contains("no role that counts"));
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
