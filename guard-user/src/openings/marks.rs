//! Firewall marks: the space of marks in pieces, each of which matches a selector wholly or not at all.

use crate::config::policy::Mark;

/// Pieces that are told apart at most.
const MOST: usize = 4096;

/// Disjoint pieces that together are all marks, so that each of `selectors` matches all of a piece or nothing of it.
/// `None` where they would be too many.
pub(super) fn pieces(selectors: &[Mark]) -> Option<Vec<Mark>> {
    let mut pieces = vec![Mark { value: 0, mask: 0 }];
    for selector in selectors {
        let mut cut = Vec::with_capacity(pieces.len());
        for piece in pieces {
            if (piece.value ^ selector.value) & piece.mask & selector.mask != 0 {
                cut.push(piece);
                continue;
            }
            let mut inside = piece;
            let mut left = selector.mask & !piece.mask;
            while left != 0 {
                let bit = 1 << left.trailing_zeros();
                left &= left - 1;
                let mask = inside.mask | bit;
                cut.push(Mark { value: inside.value | (!selector.value & bit), mask });
                inside = Mark { value: inside.value | (selector.value & bit), mask };
            }
            cut.push(inside);
        }
        if cut.len() > MOST {
            return None;
        }
        pieces = cut;
    }
    Some(pieces)
}

/// Whether a selector matches all of a piece.
pub(super) const fn matches(selector: Mark, piece: Mark) -> bool {
    selector.mask & !piece.mask == 0 && piece.value & selector.mask == selector.value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_in_one_piece_which_a_selector_matches_as_it_matches_the_mark() {
        let selectors = [(1, 1), (0x10, 0xff), (0x8000_0001, u32::MAX), (0, 3)];
        let selectors = selectors.map(|(value, mask)| Mark { value, mask });
        let pieces = pieces(&selectors).unwrap();
        for mark in (0..0x400).chain([0x8000_0000, 0x8000_0001, u32::MAX]) {
            let of: Vec<_> = pieces.iter().filter(|piece| mark & piece.mask == piece.value).collect();
            assert_eq!(of.len(), 1, "{mark:#x}");
            for selector in selectors {
                assert_eq!(matches(selector, *of[0]), mark & selector.mask == selector.value, "{mark:#x}");
            }
        }
    }
}
