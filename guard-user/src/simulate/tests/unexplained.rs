//! Records that do not explain what the kernel did.

use super::*;

/// What the kernel judged by something that no record has is not told to stay as it is, though the two configs agree about
/// what the record has.
#[test]
fn what_the_record_does_not_explain_is_not_told_to_be_unchanged() {
    let failsafe =
        "[[failsafe]]\nname = \"mail\"\nlocal_ports = [\"tcp/143\"]\npeers = [\"198.51.100.0/24\"]\n";
    let pin = |permit: &str, select: &str, rest: &str| {
        policy(&format!(
            "{rest}[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\n[pin.select]\n{select}\n"
        ))
    };
    let by_user = "users = [7]\nsent_by = \"socket\"";
    let by_source = "sources = [\"192.0.2.10/32\"]";
    let process = json!({ "command": "su", "pid": 7, "uid": 1001, "unit": null });
    for (policies, rest, expected) in [
        // A socket of another user than its process: the record has one of the two.
        (
            [pin("", by_user, ""), pin("\"US\"", by_user, "")],
            json!({ "process": process }),
            Some(Lack::Kernel),
        ),
        // A packet that a failsafe rule by port is not for, as one of MPTCP.
        ([pin("", by_source, failsafe), pin("\"US\"", by_source, failsafe)], json!({}), Some(Lack::Kernel)),
        // The outer layers of a tunnel are judged too.
        (
            [pin("", by_source, ""), pin("\"BE\"", by_source, "")],
            json!({ "is_tunnelled": true }),
            Some(Lack::Inside),
        ),
        (
            [pin("", by_source, ""), pin("\"BE\"", by_source, "")],
            json!({ "tunnel": "203.0.113.9" }),
            Some(Lack::Inside),
        ),
        (
            [pin("", by_source, ""), pin("\"BE\"", by_source, "")],
            json!({ "protocol_number": 4 }),
            Some(Lack::Inside),
        ),
        ([pin("", by_source, ""), pin("\"BE\"", by_source, "")], json!({}), None),
    ] {
        let mut traffic = Traffic::new(None);
        let mut line = line("event", "egress", [2, 120], &rest);
        line["generation"] = 3.into();
        traffic.recorded(&line);
        let seen = traffic.flows().next().unwrap();
        let [now, then] = &policies;
        let (of_now, of_then) = (side(now), side(then));
        let compared = Sides { generation: Some(3), ..sides(&of_now, &of_then, Some("x")) };
        match (compared.compare(&seen, &Needs::of(now, then, &[])), expected) {
            (Found::NotKnown(lacks), Some(lack)) => assert_eq!(lacks, [lack], "{rest}"),
            (Found::Same(_), None) => {}
            (found, expected) => panic!("{rest}: {found:?}, not {expected:?}"),
        }
    }
}
