use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 7;

/// The elements of rules with these matches after those, each of which has spent so much in this minute, and the bytes that
/// each rule begins with.
fn after(before: &[(u64, u64)], matches: &[u64]) -> Vec<u64> {
    let mut uses = vec![FailsafeUse::default(); MAX_FAILSAFES];
    for (used, (_, spent)) in uses.iter_mut().zip(before) {
        used.spent = begun(MINUTE) + spent;
    }
    let live = Rules {
        matches: before.iter().map(|(matches, _)| *matches).collect(),
        elements: (0..).take(before.len()).collect(),
        since: vec![0; before.len()],
    };
    let Given { elements, raised, .. } = give(matches, Some(&live), &uses, MINUTE);
    for (element, used) in raised {
        uses[element as usize] = used;
    }
    let mut distinct = elements.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), matches.len(), "each has one of its own");
    elements.iter().map(|element| spent_bytes(uses[*element as usize].spent)).collect()
}

#[test]
fn a_reload_makes_no_budget_whole() {
    assert_eq!(after(&[(1, 10), (2, 20)], &[2, 1]), [20, 10], "moved");
    assert_eq!(after(&[(1, 10), (2, 20)], &[3, 1, 2]), [0, 10, 20], "one more before them");
    assert_eq!(after(&[(1, 10), (2, 20)], &[2]), [20], "one less");
    assert_eq!(after(&[(1, 10), (2, 20)], &[1, 3]), [10, 20], "another match");
    assert_eq!(after(&[(1, 10), (2, 20)], &[4, 3]), [20, 20], "which of the two is not known");
    // What went with one reload does not come back whole by the next.
    assert_eq!(after(&[(0, 30), (2, 20)], &[2, 1]), [20, 30]);
}

#[test]
fn a_minute_that_is_over_counts_for_nobody_and_the_first_rules_have_the_first_elements() {
    let uses = vec![FailsafeUse { spent: begun(MINUTE - 1) + 50, refused_ns: 0 }; MAX_FAILSAFES];
    let mut matches = [0; MAX_FAILSAFES];
    matches[..2].copy_from_slice(&[5, 6]);
    let Given { elements, since, raised } = give(&matches, None, &uses, MINUTE);
    assert_eq!((&elements[..2], &since[..3], raised), (&[0, 1][..], &[0, 0, 0][..], Vec::new()));
}

/// One rule: which packets it matches, and its budget.
type Rule = (u64, u64);

#[derive(Clone, Debug)]
enum Step {
    /// So many bytes that a rule of this match is for.
    Send(u64, u64),
    /// A reload; what is sent between what it has read and the flip, and whether a minute begins there.
    Reload(Vec<Rule>, Vec<(u64, u64)>, bool),
    /// A minute begins.
    NextMinute,
}

/// The kernel: the live rules, what they count in, and what has left in this minute.
struct Model {
    minute: u64,
    uses: Vec<FailsafeUse>,
    live: Option<Rules>,
    rules: Vec<Rule>,
    left: BTreeMap<u64, u64>,
    /// Of each match the greatest budget and the most rules at one time, in this minute.
    most: BTreeMap<u64, (u64, u64)>,
}

impl Model {
    fn send(&mut self, matches: u64, bytes: u64) {
        let Some(live) = &self.live else { return };
        for ((_, budget), element) in
            self.rules.iter().zip(&live.elements).filter(|((its, _), _)| *its == matches)
        {
            let used = &mut self.uses[*element as usize].spent;
            if minute_of(*used) < self.minute {
                *used = begun(self.minute);
            }
            if spent_bytes(*used) + bytes <= *budget {
                *used += bytes;
                *self.left.entry(matches).or_default() += bytes;
                return;
            }
        }
    }

    fn look(&mut self) {
        for (matches, budget) in &self.rules {
            let count = self.rules.iter().filter(|(its, _)| its == matches).count() as u64;
            let most = self.most.entry(*matches).or_default();
            *most = (most.0.max(*budget), most.1.max(count));
        }
    }

    fn next_minute(&mut self) {
        self.minute += 1;
        (self.left, self.most) = (BTreeMap::new(), BTreeMap::new());
        self.look();
    }

    fn reload(&mut self, rules: Vec<Rule>, meanwhile: &[(u64, u64)], ends: bool) {
        // As they are compiled: those that match the same are told by their order.
        let number = |at: usize| {
            let alike = rules[..at].iter().filter(|(its, _)| *its == rules[at].0).count() as u64;
            rules[at].0 * 100 + alike
        };
        let matches: Vec<u64> = (0..rules.len()).map(number).collect();
        let Given { elements, since, raised } = give(&matches, self.live.as_ref(), &self.uses, self.minute);
        for (element, used) in raised {
            self.uses[element as usize] = used;
        }
        for (matches, bytes) in meanwhile {
            self.send(*matches, *bytes);
        }
        if ends {
            self.next_minute();
            for (matches, bytes) in meanwhile {
                self.send(*matches, *bytes);
            }
        }
        (self.live, self.rules) = (Some(Rules { matches, elements, since }), rules);
        self.look();
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sent = || (1_u64..5, 1_u64..30);
    let rules = prop::collection::vec((1_u64..5, prop::sample::select(vec![20_u64, 50])), 0..5);
    let step = prop_oneof![
        6 => sent().prop_map(|(matches, bytes)| Step::Send(matches, bytes)),
        4 => (rules, prop::collection::vec(sent(), 0..3), prop::bool::weighted(0.1))
            .prop_map(|(rules, meanwhile, ends)| Step::Reload(rules, meanwhile, ends)),
        1 => Just(Step::NextMinute),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What leaves for one match in a minute is at most the greatest budget that a live rule gave it, for each rule that matched
    /// it at one time, in whatever order rules come, go and change places.
    #[test]
    fn no_order_of_reloads_gives_a_match_more_than_its_rules(steps in steps()) {
        let mut model = Model {
            minute: MINUTE,
            uses: vec![FailsafeUse::default(); MAX_FAILSAFES],
            live: None,
            rules: Vec::new(),
            left: BTreeMap::new(),
            most: BTreeMap::new(),
        };
        for step in steps {
            match step {
                Step::Send(matches, bytes) => model.send(matches, bytes),
                Step::Reload(rules, meanwhile, ends) => model.reload(rules, &meanwhile, ends),
                Step::NextMinute => model.next_minute(),
            }
            for (matches, left) in &model.left {
                let (budget, count) = model.most.get(matches).copied().unwrap_or_default();
                prop_assert!(*left <= budget * count, "{left} of {matches}, by {count} rules of {budget}");
            }
        }
    }
}
