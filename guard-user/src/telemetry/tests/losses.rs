//! What was lost is a problem for a while.

use super::*;

#[test]
fn losses_are_a_problem_with_their_count() {
    let bed = Bed::new(100);
    bed.kernel.packet(1, true);
    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        let problems = bed.worker.problems(Instant::now());
        if let [one] = &problems[..] {
            break one.clone();
        }
        assert!(Instant::now() < deadline, "{problems:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((found.code, found.subject.as_deref()), (ProblemCode::EventsLost, Some("events")));
    assert_eq!(bed.worker.losses().kernel(), [1, 0, 0, 0, 0]);
}
