//! Frames that are changed at random, the same ones at every run.

use guard_common::packet::Link;

/// Numbers that look random and are the same at every run (G. Marsaglia, "Xorshift RNGs", 2003).
pub struct Numbers(pub u64);

impl Numbers {
    /// A number below this one; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// A frame with a few bytes changed, or cut, or with another's end.
    pub fn mutate(&mut self, frames: &[(Link, Vec<u8>)]) -> (Link, Vec<u8>) {
        let (link, mut frame) = frames[self.below(frames.len())].clone();
        match self.below(4) {
            0 => frame.truncate(self.below(frame.len()) + 1),
            1 => {
                let other = &frames[self.below(frames.len())].1;
                let at = self.below(frame.len());
                frame.truncate(at);
                frame.extend(other.iter().skip(at));
            }
            _ => {
                // The first bytes are where headers are.
                for _ in 0..=self.below(4) {
                    let near = frame.len().min(80);
                    let at = self.below(near);
                    frame[at] = self.below(256) as u8;
                }
            }
        }
        (link, frame)
    }
}
