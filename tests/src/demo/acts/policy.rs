//! The act about the policy: one that is wider waits until those have signed it who must.
use anyhow::Result;

use super::Stage;
use crate::demo::client::Request;
use crate::demo::expect::Expected;
use crate::demo::guard::Guard;
use crate::demo::screen::Style;
use crate::demo::world::{Family, US};
use crate::service::Item;
use crate::signing::{COMPLIANCE, LEGAL};

impl Stage {
    /// A config that permits more is refused until both have signed it; closing takes nobody.
    pub(in crate::demo) fn a_wider_policy_is_refused(&mut self, guard: &Guard) -> Result<()> {
        self.open_act("A config that permits the US is refused until it is signed");
        self.screen.prose(
            "Root changes one word of the config, and reloads. The config in force asks for two signatures of one that \
             newly lets anything pass: one for legal, one for compliance.",
        );
        let narrow = guard.config_with("permit = [\"EU\"]", "permit = [\"EU\", \"US\"]")?;
        let refused =
            |guard: &Guard| Ok::<_, anyhow::Error>(guard.refusal_of(&["reload"])?.map(|it| in_short(&it)));
        self.refusal("the wider config, unsigned", refused(guard)?, "newly lets pass")?;
        guard.sign_config(LEGAL)?;
        self.refusal("the wider config with one signature", refused(guard)?, "1 as \"compliance\"")?;
        let forbidden = [(Request::new(&US, Item::Mailbox, Family::V4)?, Expected::Forbidden)];
        self.ask_all(&forbidden, Some(guard))?;
        guard.sign_config(COMPLIANCE)?;
        let refused = guard.refusal_of(&["reload"])?;
        self.check(refused.is_none(), "the config that both have signed must be taken");
        self.screen.line(&format!(
            "   {}",
            self.screen.paint("the config is signed by both, and taken", Style::Good)
        ));
        let permitted = [(Request::new(&US, Item::Mailbox, Family::V6)?, Expected::Permitted)];
        self.ask_all(&permitted, Some(guard))?;
        guard.restore_config(&narrow)?;
        let refused = guard.refusal_of(&["reload"])?;
        self.check(refused.is_none(), "what closes must be taken from one person");
        let closed = "the config of before is put back, which takes nobody's signature";
        self.screen.line(&format!("   {}", self.screen.paint(closed, Style::Good)));
        let forbidden = [(Request::new(&US, Item::Mailbox, Family::V6)?, Expected::Forbidden)];
        self.ask_all(&forbidden, Some(guard))
    }
}

/// What opens and what is missing, without the file's name and what to do about it.
fn in_short(complaint: &str) -> String {
    let (_, rest) = complaint.split_once("newly lets pass").unwrap_or(("", complaint));
    let (rest, _) = rest.split_once(". `borderguard").unwrap_or((rest, ""));
    format!("it newly lets pass{rest}")
}
