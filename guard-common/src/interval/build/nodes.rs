//! Divides sorted starts into slices.

use super::super::{LEAF, Node, ROOT_BITS};

/// Starts that a child has on the average at most: with twice as many it would often be divided once more.
const EACH: usize = LEAF / 2;

/// Starts that are below roots of their own.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// The number of its first root.
    pub(super) root: usize,
    /// Its starts, sorted, their bits at the upper end.
    pub(super) starts: &'a [u64],
    /// The number of its first interval.
    pub(super) first: usize,
    /// Bits of a start.
    pub(super) width: u32,
}

/// Writes the nodes of all parts, of which none is deeper than `depth` below its root. Where there are too few nodes for that, larger
/// slices are left as they are: with one for each root there always are enough.
pub(super) fn write(table: &mut [u32], depth: u32, parts: &[Part<'_>]) {
    let mut largest = LEAF;
    while !try_write(table, depth, parts, largest) && largest < usize::MAX / 2 {
        largest *= 2;
    }
}

/// As [`write`], with slices of at most so many starts where they can be divided. False where there are too few nodes.
fn try_write(table: &mut [u32], depth: u32, parts: &[Part<'_>], largest: usize) -> bool {
    table.fill(0);
    let used = parts.iter().map(|part| part.root + (1 << ROOT_BITS)).max().unwrap_or_default();
    let mut nodes = Nodes { table, used, depth, largest };
    for part in parts {
        nodes.divide(
            part.root,
            ROOT_BITS,
            Slice { starts: part.starts, first: part.first, width: part.width, known: 0, level: 0 },
        );
    }
    nodes.used <= nodes.table.len()
}

struct Nodes<'a> {
    table: &'a mut [u32],
    used: usize,
    depth: u32,
    largest: usize,
}

/// Starts that have their first bits in common.
#[derive(Clone, Copy)]
struct Slice<'a> {
    starts: &'a [u64],
    /// The number of the first interval.
    first: usize,
    /// Bits of a start, and how many of them are the same.
    width: u32,
    known: u32,
    /// How often it was divided before.
    level: u32,
}

impl Nodes<'_> {
    /// Writes the children of a slice from `base` on.
    fn divide(&mut self, base: usize, bits: u32, slice: Slice<'_>) {
        let (mut rest, mut first) = (slice.starts, slice.first);
        for child in 0..1_usize << bits {
            // One after the other: there are few for each child.
            let is_its = |start: &&u64| (**start << slice.known) >> (64 - bits) <= child as u64;
            let count = rest.iter().take_while(is_its).count();
            let (starts, others) = rest.split_at(count);
            self.write(base + child, Slice { starts, first, known: slice.known + bits, ..slice });
            (rest, first) = (others, first + count);
        }
    }

    fn write(&mut self, at: usize, slice: Slice<'_>) {
        let Slice { starts, first, width, known, level } = slice;
        let node = if starts.len() > self.largest && level < self.depth && known < width {
            let children = (starts.len() / EACH).next_power_of_two();
            let bits = children.ilog2().clamp(1, Node::MOST_BITS).min(width - known);
            let base = self.take(1 << bits);
            self.divide(base, bits, Slice { level: level + 1, ..slice });
            Node::divided(base as u32, bits)
        } else if starts.len() > Node::MOST {
            let base = self.take(2);
            self.put(base, first as u32);
            self.put(base + 1, starts.len() as u32);
            Node::far(base as u32)
        } else {
            Node::slice(first as u32, starts.len() as u32)
        };
        self.put(at, node.0);
    }

    fn take(&mut self, count: usize) -> usize {
        let base = self.used;
        self.used += count;
        base
    }

    /// Past the end there is none, which [`try_write`] finds by how many were taken.
    fn put(&mut self, at: usize, word: u32) {
        if let Some(node) = self.table.get_mut(at) {
            *node = word;
        }
    }
}
