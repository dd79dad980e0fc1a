//! Brings kernel and host to what config and store want: after every input, whatever it was.

use crate::daemon::engine::state::Engine;
use crate::exemption::Clocks;

impl Engine {
    /// Asks for what is missing between what is wanted and what was seen, unless it is on its way already or
    /// failed just now. Nothing else asks for it.
    pub(super) fn reconcile(&mut self, now: Clocks) {
        self.take_up_deferred(now);
        self.take_up_unsettled(now);
        self.mark_where_needed(now);
        self.look_where_wanted(now);
        self.publish_where_needed(now);
        self.mend_interfaces(now);
        self.mend_bypass(now);
        self.mend_noting(now);
        self.mend_protection(now);
        self.free_slots();
        self.settle_changes(now);
        self.settle_loads(now);
        self.go_on_ending(now);
        self.read_uses_where_wanted();
        self.sample_where_wanted();
        self.announce_ready(now);
    }
}
