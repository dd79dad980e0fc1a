//! What inputs made at random are given to: everything that reads bytes of others.
//!
//! `cargo xtask fuzz` finds inputs by what code they reach ([`libFuzzer`](https://llvm.org/docs/LibFuzzer.html)). The suite
//! `fuzz` gives each target its seeds, what was kept of earlier runs (`tests/corpus`), and some thousand changes of those.

mod databases;
mod frames;
mod kernel;
mod target;
mod texts;

pub use target::Target;

use crate::mutation::Numbers;

/// All of them.
pub const TARGETS: &[Target] = &[
    frames::PARSER,
    frames::DECIDE,
    kernel::KERNEL,
    texts::CONFIG,
    texts::DOCUMENT,
    texts::LIFT,
    texts::LAW,
    texts::SIGNERS,
    texts::SIGNATURE,
    texts::REQUEST,
    texts::RECORD,
    databases::DATABASE,
    databases::CAPTURE,
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// An input with a few bytes changed, a piece taken out or said twice, or with another's end.
///
/// # Panics
/// Where there are no inputs.
pub fn change(numbers: &mut Numbers, inputs: &[Vec<u8>], longest: usize) -> Vec<u8> {
    let mut input = inputs[numbers.below(inputs.len())].clone();
    match numbers.below(5) {
        0 => input.truncate(numbers.below(input.len() + 1)),
        1 => {
            let other = &inputs[numbers.below(inputs.len())];
            let (at, from) = (numbers.below(input.len() + 1), numbers.below(other.len() + 1));
            input.truncate(at);
            input.extend(&other[from..]);
        }
        2 => {
            let at = numbers.below(input.len() + 1);
            let end = (at + numbers.below(40)).min(input.len());
            let piece: Vec<u8> = input.drain(at..end).collect();
            if numbers.below(2) == 0 {
                let at = numbers.below(input.len() + 1);
                input.splice(at..at, piece.iter().chain(&piece).copied());
            }
        }
        _ => {
            for _ in 0..=numbers.below(4) {
                let at = numbers.below(input.len());
                if let Some(byte) = input.get_mut(at) {
                    *byte = numbers.below(256) as u8;
                }
            }
        }
    }
    input.truncate(longest);
    input
}
