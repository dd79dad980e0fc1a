//! What counts as used of a quota because the host went down, as receipts and reports have it.

use super::inputs::document;
use super::record::{answer, receipt_of, with_key};
use super::world::World;
use crate::control::protocol::{Request, Response};
use crate::report::receipt::Receipt;

#[test]
fn what_was_granted_before_the_host_went_down_is_nobodys_in_receipt_and_report() {
    for more in [0, 2] {
        let mut world = World::new(with_key(), &["eth0"]);
        world.settle();
        let wall = world.clocks().wall;
        let text = document("a", 1, wall);
        let mut text = text.replacen("[instrument]", "quota_bytes = 50_000\n[instrument]", 1);
        for number in 0..more {
            let name = format!("[[recipient]]\nname = \"Another {number}\"\njurisdiction = \"US\"\n");
            text += &format!("{name}cidrs = [\"203.0.113.2{number}/32\"]\n");
        }
        world.load_text("a", text);
        world.settle();
        // Each recipient has a place of its own.
        assert_eq!(world.open(), vec!["a"; 1 + more], "{:?}", world.answers);
        // A start after a crash begins so.
        world.store.counters_began_anew(wall).unwrap();
        world.revoke("a");
        world.settle();
        let Response::Receipt { text, .. } = receipt_of(&mut world, "a") else {
            panic!("{:?}", world.answers)
        };
        let receipt = Receipt::read(text.as_bytes()).unwrap();
        assert_eq!((receipt.packets, receipt.bytes, receipt.presumed_bytes), (0, 0, Some(50_000)));
        assert!(receipt.use_by_day.is_empty() && receipt.recipients.len() == 1 + more);
        let asked = Request::Report { from: Some("2000-01-01".to_owned()), until: None };
        let Response::Report { report } = answer(&mut world, asked) else { panic!("{:?}", world.answers) };
        let [exemption] = report.exemptions.as_slice() else { panic!("{report:?}") };
        let presumed: Vec<u64> = exemption.presumed.iter().map(|day| day.bytes).collect();
        assert_eq!((exemption.use_by_day.len(), presumed), (0, vec![50_000]));
    }
}
