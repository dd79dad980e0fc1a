//! What the cgroups of events are called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kernel::cgroup;

/// Names that are kept; past that all are forgotten, and looked up again.
const MOST: usize = 4096;
/// Of its time a reporter spends one part in so many on looking for names, so that a flood from cgroups that come and
/// go holds up no events.
const SHARE: u32 = 10;

/// Ids that were looked up, with their paths. An id is never given to another cgroup, so that a path holds as long as
/// nobody renames the cgroup.
#[derive(Debug, Default)]
pub(super) struct CgroupNames {
    known: BTreeMap<u64, Arc<str>>,
    /// Not before this is the tree of cgroups read again.
    next_look: Option<Instant>,
}

impl CgroupNames {
    /// The path of the cgroup with this id below the root; `None` for 0, for the root, and for one that is gone or too
    /// new to be found.
    pub(super) fn path(&mut self, id: u64) -> Option<Arc<str>> {
        self.path_by(id, Instant::now(), cgroup::paths)
    }

    fn path_by(
        &mut self,
        id: u64,
        now: Instant,
        look: impl FnOnce(&BTreeSet<u64>) -> BTreeMap<u64, String>,
    ) -> Option<Arc<str>> {
        /// The root's own id (kernel, `cgroup_init`): its path is empty.
        const ROOT: u64 = 1;
        if id <= ROOT {
            return None;
        }
        if let Some(path) = self.known.get(&id) {
            return Some(Arc::clone(path));
        }
        if self.next_look.is_some_and(|next| now < next) {
            return None;
        }
        let begin = Instant::now();
        let found = look(&BTreeSet::from([id]));
        self.next_look = Some(now + begin.elapsed().max(Duration::from_micros(1)) * SHARE);
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.extend(found.into_iter().map(|(id, path)| (id, path.into())));
        self.known.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_looked_for_once_and_not_all_the_time() {
        let mut names = CgroupNames::default();
        let now = Instant::now();
        let slow = |ids: &BTreeSet<u64>| {
            std::thread::sleep(Duration::from_millis(2));
            ids.iter().filter(|id| **id == 7).map(|id| (*id, "a.slice".to_owned())).collect()
        };
        let never = |_: &BTreeSet<u64>| -> BTreeMap<u64, String> { panic!("it is looked for again") };
        assert_eq!(names.path_by(0, now, never), None);
        assert_eq!(names.path_by(1, now, never), None);
        assert_eq!(names.path_by(7, now, slow).as_deref(), Some("a.slice"));
        assert_eq!(names.path_by(7, now, never).as_deref(), Some("a.slice"));
        assert_eq!(names.path_by(8, now, never), None, "too soon");
        let later = now + Duration::from_secs(60);
        assert_eq!(names.path_by(8, later, slow), None, "gone");
        assert_eq!(names.path_by(8, later, never), None, "too soon");
    }
}
