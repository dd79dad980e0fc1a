//! Places for connections: only so many at once of each kind of peer, so that descriptors and memory are bounded,
//! and so that none of one kind keeps out those of another.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::MAX_CLIENTS;
use super::access::Peer;
use super::right::Right;

/// Peers that share places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They may only look.
    Viewer,
    /// They may change something.
    Changer,
    /// Root and the daemon's own user.
    Root,
}

impl Kind {
    pub(super) const COUNT: usize = 3;

    pub(super) fn of(peer: &Peer) -> Self {
        match () {
            () if peer.is_root => Self::Root,
            () if peer.rights.iter().all(|right| matches!(right, Right::View | Right::People)) => {
                Self::Viewer
            }
            () => Self::Changer,
        }
    }
}

/// The places of one kind.
#[derive(Debug, Default)]
struct Row {
    taken: HashSet<u64>,
    /// Those whose request has not come yet, the longest waiting first.
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// The peer's process.
    process: Option<u32>,
    /// Tells it to go.
    tell: oneshot::Sender<()>,
}

impl Row {
    /// Of those that wait, the first of the process that has most of them.
    fn first_of_most(&self) -> Option<u64> {
        let mut counts: BTreeMap<Option<u32>, (usize, u64)> = BTreeMap::new();
        for (id, Waiting { process, .. }) in &self.waiting {
            counts.entry(*process).or_insert((0, *id)).0 += 1;
        }
        // Of equals the one that has waited longest.
        counts
            .into_values()
            .max_by_key(|(count, first)| (*count, std::cmp::Reverse(*first)))
            .map(|(_, first)| first)
    }
}

/// The places of all kinds.
#[derive(Debug, Default)]
pub(super) struct Places {
    rows: Mutex<([Row; Kind::COUNT], u64)>,
}

impl Places {
    /// A place, if there is one. Where all are taken, one that still waits for its peer's request gives way: the
    /// first of the process that has most of them. So clients that say nothing keep nobody out, and a process that
    /// connects again and again takes its own places.
    pub(super) fn enter(self: &Arc<Self>, kind: Kind, process: Option<u32>) -> Option<Place> {
        let mut rows = self.rows();
        let (rows, next) = &mut *rows;
        let row = &mut rows[kind as usize];
        if row.taken.len() >= MAX_CLIENTS {
            let first = row.first_of_most()?;
            row.taken.remove(&first);
            let waiting = row.waiting.remove(&first)?;
            // It may have gone by itself.
            let _gone = waiting.tell.send(());
        }
        let id = *next;
        *next += 1;
        let (tell, told) = oneshot::channel();
        row.taken.insert(id);
        row.waiting.insert(id, Waiting { process, tell });
        Some(Place { places: Arc::clone(self), kind, id, told })
    }

    /// A place for one whose request is there already, if there is one.
    pub(super) fn take(self: &Arc<Self>, kind: Kind) -> Option<Place> {
        let place = self.enter(kind, None)?;
        // Another one may have had it before it was kept.
        place.keep().then_some(place)
    }

    fn rows(&self) -> MutexGuard<'_, ([Row; Kind::COUNT], u64)> {
        // Nobody panics between two changes that belong together.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    kind: Kind,
    id: u64,
    told: oneshot::Receiver<()>,
}

impl Place {
    /// Waits until another connection has this place.
    pub(super) async fn lost(&mut self) {
        // The other end is kept until `keep` is called, so that it does not end by itself before.
        if (&mut self.told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The request has come: the place is this connection's until it is done. Whether it still is.
    pub(super) fn keep(&self) -> bool {
        let mut rows = self.places.rows();
        let row = &mut rows.0[self.kind as usize];
        row.waiting.remove(&self.id);
        row.taken.contains(&self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rows = self.places.rows();
        let row = &mut rows.0[self.kind as usize];
        row.waiting.remove(&self.id);
        row.taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever comes, asks and goes: never too many at once, nobody loses a place whose request has come, and
        /// a newcomer is refused only where all places have requests.
        #[test]
        fn places_are_bounded_and_kept(steps in prop::collection::vec((0_u8..8, 0_usize..200), 1..600)) {
            let places = Arc::new(Places::default());
            let (mut waiting, mut busy): (Vec<Place>, Vec<Place>) = (Vec::new(), Vec::new());
            for (step, at) in steps {
                match step {
                    0..=4 => match places.enter(Kind::Viewer, Some(at as u32 % 9)) {
                        Some(place) => waiting.push(place),
                        None => prop_assert_eq!(busy.len(), MAX_CLIENTS),
                    },
                    5 | 6 if !waiting.is_empty() => {
                        let place = waiting.swap_remove(at % waiting.len());
                        if place.keep() {
                            busy.push(place);
                        }
                    }
                    7 if !busy.is_empty() => drop(busy.swap_remove(at % busy.len())),
                    _ => {}
                }
                let rows = places.rows();
                prop_assert!(rows.0[Kind::Viewer as usize].taken.len() <= MAX_CLIENTS);
                for place in &busy {
                    prop_assert!(rows.0[Kind::Viewer as usize].taken.contains(&place.id));
                }
                prop_assert!(rows.0[Kind::Root as usize].taken.is_empty());
            }
            drop((waiting, busy));
            let rows = places.rows();
            prop_assert!(rows.0.iter().all(|row| row.taken.is_empty() && row.waiting.is_empty()));
        }
    }

    #[tokio::test]
    async fn the_longest_silent_one_gives_way_and_is_told() {
        let places = Arc::new(Places::default());
        let mut first = places.enter(Kind::Root, Some(1)).unwrap();
        let mut others: Vec<Place> =
            (1..MAX_CLIENTS).map(|_| places.enter(Kind::Root, Some(1)).unwrap()).collect();
        assert!(others[0].keep());
        let _newcomer = places.enter(Kind::Root, Some(1)).unwrap();
        first.lost().await;
        assert!(!first.keep());
        // The next one is not the one whose request has come.
        let _another = places.enter(Kind::Root, Some(1)).unwrap();
        others[1].lost().await;
        assert!(others[0].keep() && !others[1].keep() && others[2].keep());
    }

    #[tokio::test]
    async fn a_process_that_floods_takes_its_own_places() {
        let places = Arc::new(Places::default());
        let mut others: Vec<Place> =
            (0..10).map(|process| places.enter(Kind::Viewer, Some(process)).unwrap()).collect();
        let flood: Vec<Place> = (0..1000).map(|_| places.enter(Kind::Viewer, Some(99)).unwrap()).collect();
        assert!(others.iter_mut().all(|place| place.keep()));
        assert_eq!(flood.iter().filter(|place| place.keep()).count(), MAX_CLIENTS - 10);
    }
}
