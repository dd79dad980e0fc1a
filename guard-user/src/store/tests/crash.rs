//! The process ends at any step of any sequence of events, and the next one finds nothing more open.

use proptest::prelude::*;

use super::model::{End, ModelDisk};
use super::world::{Event, World, end, events, spending};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn nothing_is_more_open_after_the_process_has_ended_at_any_step(
        lives in prop::collection::vec((events(), 0..150_usize, end()), 1..6),
    ) {
        let disk = ModelDisk::new();
        let mut world = World::default();
        for (events, steps, end) in lives {
            let mut store = disk.open_store();
            world.compare(&mut store);
            disk.end_after(steps);
            for event in events {
                if !world.happen(&mut store, event, &disk) {
                    break;
                }
            }
            world.go_down(&disk, end);
        }
        world.compare(&mut disk.open_store());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The world looks at each charge whether it is the document's quota by then, over all lives.
    #[test]
    fn no_quota_is_spent_twice_however_often_the_host_goes_down(
        lives in prop::collection::vec((spending(), 0..150_usize, end()), 2..8),
    ) {
        let disk = ModelDisk::new();
        let mut world = World::default();
        let mut store = disk.open_store();
        for id in 0..3 {
            assert!(world.happen(&mut store, Event::Load(id), &disk));
        }
        for (events, steps, end) in lives {
            // As the daemon begins.
            assert!(world.happen(&mut store, Event::Publish, &disk));
            disk.end_after(steps);
            for event in events {
                if !world.happen(&mut store, event, &disk) {
                    break;
                }
            }
            world.go_down(&disk, end);
            store = disk.open_store();
            world.compare(&mut store);
        }
    }
}

/// Every step of each event, one after the other, rather than some by chance.
#[test]
fn each_single_step_of_each_event_can_be_the_last() {
    let before =
        [Event::Load(0), Event::Load(1), Event::Stay(1, 0), Event::Publish, Event::Charge(0, 999_000)];
    let events = [
        Event::Load(2),
        Event::Replace(0),
        Event::Stay(0, 0),
        Event::Resume(1, 0),
        Event::Revoke(0),
        Event::Invalidate(0),
        Event::Look(0),
        Event::CloseWhatIsOver(true),
        Event::Detach,
    ];
    let (disk, world) = World::after(&before);
    let mut ends = 0_u64;
    for event in events {
        for steps in 0.. {
            let mut finished = false;
            for end in [End::Killed].into_iter().chain([0, 1].map(|it| End::PowerLoss(ends + it))) {
                let (disk, mut world) = (disk.copy(), world.clone());
                let mut store = disk.open_store();
                world.compare(&mut store);
                disk.end_after(steps);
                finished = world.happen(&mut store, event, &disk);
                world.go_down(&disk, end);
                world.compare(&mut disk.open_store());
                ends += 1;
            }
            if finished {
                assert!(steps > 3, "{event:?} has only {steps} steps");
                break;
            }
        }
    }
}
