//! Flows by interfaces that the candidate does not guard.

use super::*;

/// What pins tag is opened by whoever lets its interface go, whatever the two configs say of it.
#[test]
fn what_goes_by_an_interface_that_is_let_go_is_opened() {
    let pin = |permit: &str| {
        policy(&format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\nselect.ports = [\"tcp/143\"]\n"
        ))
    };
    let other_port = json!({ "source": { "ip": "192.0.2.10", "port": 25 }, "pins": [], "tagged": [] });
    let unknown = json!({ "interface": null });
    let (narrow, wide) = (pin(""), pin("\"US\""));
    let let_go = Unguarded::of(["eth0".to_owned(), "eth1".to_owned()], |name| name == "eth1");
    assert_eq!(let_go.names(), ["eth0"]);
    let added = |(now, then): (&Policy, &Policy), rest: &Value, let_go: &Unguarded| {
        let mut traffic = Traffic::new(None);
        traffic.recorded(&line("event", "egress", [2, 120], rest));
        let seen = traffic.flows().next().unwrap();
        let (of_now, of_then) = (side(now), side(then));
        let found = sides(&of_now, &of_then, None).compare_by_pins(&seen, &Needs::of(now, then, &[]));
        let mut sums = Sums::default();
        sums.add_by_interface(&seen, found, let_go);
        sums
    };
    for (policies, was, lack) in [
        ((&narrow, &narrow), ("drop", "forbidden"), Lack::LetGo),
        ((&narrow, &wide), ("drop", "forbidden"), Lack::LetGo),
        ((&wide, &wide), ("pass", "permitted"), Lack::LetGo),
        // By an interface that stays it would be dropped.
        ((&wide, &narrow), ("pass", "permitted"), Lack::Interface),
    ] {
        let sums = added(policies, &json!({}), &let_go);
        let groups: Vec<&Group> = sums.groups.keys().collect();
        let [group] = groups.as_slice() else { panic!("{was:?}: {sums:?}") };
        assert_eq!((group.kind, group.pins.join(" ")), (Kind::Opens, "mail".to_owned()));
        assert_eq!((group.now.verdict, group.now.reason), was);
        assert_eq!((group.then.verdict, group.then.reason), ("pass", UNGUARDED));
        assert_eq!(sums.of(Kind::Opens), Amount { flows: 1, packets: 2, bytes: 120 });
        // By another interface, or where all stay guarded, it is judged.
        let elsewhere = added(policies, &json!({ "interface": "eth1" }), &let_go);
        let as_before = added(policies, &json!({}), &Unguarded::default());
        assert_eq!(elsewhere, as_before);
        // Where the interface is not known, neither is that.
        let sums = added(policies, &unknown, &let_go);
        assert_eq!(sums.not_known.keys().collect::<Vec<_>>(), [&vec![lack]], "{was:?}");
    }
    // What no pin tags passes now and then.
    let sums = added((&narrow, &narrow), &other_port, &let_go);
    assert!(sums.groups.is_empty() && sums.same.flows == 1, "{sums:?}");
}

/// What is tried of a flow may agree in the verdict and not in whether a pin has it.
#[test]
fn what_a_pin_may_have_is_not_told_as_unchanged_where_its_interface_is_let_go() {
    let by_user = |permit: &str| {
        policy(&format!(
            "[[pin]]\nname = \"mail\"\nhome = \"IE\"\npermit = [{permit}]\naction = \"drop\"\nselect.users = [97]\n"
        ))
    };
    let (wide, narrow) = (by_user("\"US\""), by_user(""));
    let other =
        policy("[[pin]]\nname = \"post\"\nhome = \"IE\"\naction = \"drop\"\nselect.ports = [\"tcp/25\"]\n");
    let let_go = Unguarded::of(["eth0".to_owned()], |_| false);
    // As an earlier config recorded it, which had no pin for it, or one.
    for (now, tagged, lacks) in [
        (&wide, json!([]), vec![Lack::Sender, Lack::LetGo]),
        (&narrow, json!([]), vec![Lack::Sender, Lack::LetGo]),
        (&wide, json!(["old"]), vec![Lack::Sender, Lack::LetGo]),
        (&other, json!(["old"]), vec![Lack::Kernel, Lack::LetGo]),
    ] {
        let mut traffic = Traffic::new(None);
        let rest = json!({ "pins": [], "tagged": tagged, "process": null, "cgroup": null, "policy": "an earlier one" });
        traffic.recorded(&line("event", "egress", [2, 120], &rest));
        let seen = traffic.flows().next().unwrap();
        let of_now = side(now);
        let found = sides(&of_now, &of_now, None).compare_by_pins(&seen, &Needs::of(now, now, &[]));
        let mut sums = Sums::default();
        sums.add_by_interface(&seen, found, &let_go);
        assert_eq!(sums.not_known.keys().collect::<Vec<_>>(), [&lacks], "{sums:?}");
    }
}
