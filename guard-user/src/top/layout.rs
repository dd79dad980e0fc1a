//! How a height is shared out.

/// How many rows a part could use, and how many it needs at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) rows: usize,
    pub(super) least: usize,
}

/// Shares rows out between parts: first what each needs, in their order, then one by one, so that none starves for
/// another. A part that would get less than it needs gets nothing.
pub(super) fn share(height: usize, wanted: &[Want]) -> Vec<usize> {
    let mut shares = vec![0; wanted.len()];
    let mut left = height;
    for (share, wanted) in shares.iter_mut().zip(wanted) {
        let needs = wanted.least.min(wanted.rows);
        if needs <= left {
            *share = needs;
            left -= needs;
        }
    }
    while left > 0 {
        let before = left;
        for (share, wanted) in shares.iter_mut().zip(wanted) {
            if *share > 0 && *share < wanted.rows && left > 0 {
                *share += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wants(rows: &[usize]) -> Vec<Want> {
        rows.iter().map(|rows| Want { rows: *rows, least: 2 }).collect()
    }

    #[test]
    fn each_has_what_it_needs_before_another_has_more() {
        let share = |height, wanted: &[usize]| share(height, &wants(wanted));
        assert_eq!(share(10, &[2, 9, 3]), [2, 5, 3]);
        assert_eq!(share(3, &[2, 9, 3]), [2, 0, 0]);
        assert_eq!(share(0, &[2, 9]), [0, 0]);
        assert_eq!(share(50, &[2, 9]), [2, 9]);
    }

    proptest! {
        #[test]
        fn no_row_is_given_twice_and_none_is_left_that_is_wanted(
            height in 0_usize..100,
            wanted in prop::collection::vec(0_usize..50, 0..6),
        ) {
            let shares = share(height, &wants(&wanted));
            let sum: usize = shares.iter().sum();
            prop_assert!(sum <= height);
            prop_assert!(shares.iter().zip(&wanted).all(|(share, wanted)| share <= wanted));
            if sum < height {
                // Only a part that would get less than it needs is left without.
                prop_assert!(shares.iter().zip(&wanted).all(|(share, wanted)| share == wanted || *share == 0));
            }
        }
    }
}
