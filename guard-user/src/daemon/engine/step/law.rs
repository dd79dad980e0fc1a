//! The law pack that new exemptions are judged by.

use std::sync::Arc;

use crate::config::policy::Policy;
use crate::daemon::engine::state::Engine;
use crate::exemption::{Clocks, LawPack};
use crate::health::{Problem, ProblemCode};

impl Engine {
    /// Keeps the pack of a policy that is to take the place of the live one.
    pub(super) fn keep_law_pack(&mut self, policy: &Policy, law: Option<Result<Arc<LawPack>, String>>) {
        let live = self.config.policy.law.clone();
        self.config.packs.retain(|named, _| live.as_ref() == Some(named));
        if let (Some(named), Some(law)) = (policy.law.clone(), law) {
            self.config.packs.insert(named, law);
        }
    }

    /// The pack of the live policy, or why there is none.
    pub(super) fn law_pack(&self) -> Result<Arc<LawPack>, String> {
        match &self.config.policy.law {
            None => LawPack::shared().cloned().map_err(|error| error.to_string()),
            Some(named) => {
                let kept = self.config.packs.get(named).cloned();
                kept.unwrap_or_else(|| Err(format!("{} has not been read", named.pack.display())))
            }
        }
    }

    /// That no exemption can be loaded, because nobody knows what the law is.
    pub(super) fn problem_of_law(&self, now: Clocks) -> Option<Problem> {
        let why = match self.law_pack() {
            Ok(pack) if pack.ends() > now.wall => return None,
            Ok(pack) => format!(
                "the law pack, as of {}, was to be looked at again by {}",
                pack.as_of, pack.look_again_by
            ),
            Err(why) => why,
        };
        Some(Problem::new(ProblemCode::LawPackUnusable, why))
    }
}
