//! Which interfaces are guarded, which should be, and what is done about the difference.
//!
//! An attachment is what the kernel shows on an interface, at each look anew. An interface is let go by one thing
//! alone: a config that was read and names it no more. One that was renamed stays guarded until then.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::abi::Hook;
use serde_json::json;

use crate::audit::{Kind, NOT_FOUND, TAKEN_OFF};
use crate::compile::{Beyond, beyond};
use crate::daemon::engine::input::Sight;
use crate::daemon::engine::interfaces::{Claim, Lost, Release, wants_ingress};
use crate::daemon::engine::state::Engine;
use crate::daemon::engine::tries::Try;
use crate::daemon::engine::{KernelJob, Level};
use crate::exemption::Clocks;
use crate::health::{Enforcement, Problem, ProblemCode};
use crate::kernel::{Attachment, Interface, Observed, ObservedInterface, Stray, Unguarded, unguarded};

/// Interfaces to which programs are being attached at once.
const AT_ONCE: usize = 8;

/// Whether somebody has put another program into the place of the one that this daemon had there. One that is not current for
/// another reason, as after a trace, is still the same.
fn is_exchanged(before: Option<&Attachment>, now: Option<&Attachment>) -> bool {
    before.zip(now).is_some_and(|(before, now)| {
        before.is_current && !now.is_current && (before.link == now.link && before.program != now.program)
    })
}

impl Engine {
    /// How an interface stands to the config.
    pub(super) fn claim(&self, it: &ObservedInterface) -> Claim {
        match self.known_as(it) {
            Some(name) if name == it.interface.name => Claim::Named,
            Some(_) => Claim::Renamed,
            None => Claim::None,
        }
    }

    /// The interfaces by which frames leave the host that pass none that is guarded or that the config claims.
    pub(super) fn unguarded_exits(&self) -> impl Iterator<Item = Unguarded> {
        let all = || self.interfaces.observed.iter().flat_map(|observed| &observed.interfaces);
        // Of one that the config claims another problem says that it has no program.
        let is_guarded =
            |it: &&ObservedInterface| it.at(Hook::Egress).is_some() || self.claim(it) != Claim::None;
        let guarded: BTreeSet<u32> = all().filter(is_guarded).map(|it| it.interface.index).collect();
        let places = all().map(|it| (it.interface.index, it.interface.name.as_str(), &it.place));
        unguarded(places, &|index| guarded.contains(&index)).into_iter()
    }

    /// Where pins drop or flag: the interfaces by which frames leave the host that pass none that is guarded, and that the config
    /// does not accept.
    pub(super) fn problems_of_exits(&self) -> Vec<Problem> {
        if self.enforcement() != Enforcement::Enforces {
            return Vec::new();
        }
        let open = self.unguarded_exits().filter(|it| !self.config.policy.accepts_unguarded(&it.name));
        let told = |Unguarded { name, how, .. }| {
            let message = format!("what leaves by it is not judged: {how}");
            Problem::of(ProblemCode::InterfaceUnguarded, name, message)
        };
        open.map(told).collect()
    }

    /// The name by which the config claims an interface: its own, else the last one by which it was guarded that the
    /// config has.
    fn known_as(&self, it: &ObservedInterface) -> Option<String> {
        let own = std::iter::once(&it.interface.name);
        let remembered = self.interfaces.guarded_as.get(&it.interface.index);
        let attached = it.attachments.iter().map(|attachment| &attachment.attached_as);
        let mut names = own.chain(remembered).chain(attached);
        names.find(|name| self.config.policy.guards(name)).cloned()
    }

    /// Whether the live config names an interface of this name.
    #[cfg(test)]
    pub(in crate::daemon::engine) fn names_interface(&self, name: &str) -> bool {
        self.config.policy.guards(name)
    }

    /// Whether an interface is guarded as it should be. An entry that is missing is made anew by restoring entries:
    /// attaching again would not help while that fails.
    pub(super) fn is_guarded_as_wanted(&self, it: &ObservedInterface) -> bool {
        let is_well = |at: Option<&Attachment>| at.is_some_and(|at| at.is_current);
        let ingress = wants_ingress(&self.config.policy);
        is_well(it.at(Hook::Egress))
            && if ingress { is_well(it.at(Hook::Ingress)) } else { it.at(Hook::Ingress).is_none() }
    }

    pub(super) fn look_where_wanted(&mut self, now: Clocks) {
        if self.interfaces.wanted && self.interfaces.looking_since.is_none() {
            self.interfaces.wanted = false;
            self.interfaces.looking_since = Some(now.boot_ns);
            let job = self.observe_job();
            self.ask_kernel(job);
        }
    }

    pub(super) fn observed(&mut self, sight: Result<Box<Sight>, String>, now: Clocks) {
        self.interfaces.looking_since = None;
        let sight = match sight {
            Ok(sight) => sight,
            Err(error) => {
                self.interfaces.blind = Some(error);
                return;
            }
        };
        let Sight { observed, cgroups, bypass, noting } = *sight;
        self.interfaces.blind = None;
        self.cgroups_seen(cgroups, now);
        self.bypass_seen(bypass, observed.bypass.clone(), now);
        self.noting_seen(noting, &observed, now);
        // One that is gone, and one that came in its place, is tried at once.
        let before = self.interfaces.observed.take();
        let known: BTreeSet<(u32, String)> = before
            .iter()
            .flat_map(|it| it.interfaces.iter().map(|it| (it.interface.index, it.interface.name.clone())))
            .collect();
        let news = observed
            .interfaces
            .iter()
            .filter(|it| !known.contains(&(it.interface.index, it.interface.name.clone())));
        let news: Vec<u32> = news.map(|it| it.interface.index).collect();
        if let Some(looked) = self.interfaces.looked {
            // One that was renamed is guarded already.
            let all =
                observed.interfaces.iter().map(|it| (it.interface.index, it.at(Hook::Egress).is_none()));
            let came = all.filter(|(index, is_bare)| *is_bare && news.contains(index));
            self.interfaces.came_after.extend(came.map(|(index, _)| (index, Some(looked))));
        } else if self.has_taken_over {
            let all = observed.interfaces.iter();
            // One that the config is the first to name was not to be guarded before.
            let named = self.named_before.as_ref();
            let was_named = |it: &&ObservedInterface| {
                named.is_none_or(|named| named.iter().any(|pattern| pattern.matches(&it.interface.name)))
            };
            let unguarded = all.filter(|it| it.at(Hook::Egress).is_none()).filter(was_named);
            let unguarded = unguarded.map(|it| it.interface.index);
            self.interfaces.came_after.extend(unguarded.map(|index| (index, None)));
        }
        self.interfaces.tried.retain(|index, _| !news.contains(index));
        self.interfaces.lost.retain(|(index, _), _| !news.contains(index));
        self.note_lost(before.as_ref(), &observed, now);
        self.interfaces.note_passed(&observed, now);
        self.tampering_seen(&observed.tampered, now);
        self.protection_seen(&observed.protection, now);
        self.interfaces.looked = Some(now);
        for it in &observed.interfaces {
            if it.at(Hook::Egress).is_some()
                && let Some(name) = self.known_as(it)
            {
                self.interfaces.guarded_as.insert(it.interface.index, name);
            }
            let is_there = |hook: u8| it.attachments.iter().any(|at| at.hook as u8 == hook);
            let lost = self.interfaces.lost.iter_mut();
            for (_, lost) in lost.filter(|((index, hook), _)| *index == it.interface.index && is_there(*hook))
            {
                lost.is_back = true;
            }
            if it.attachments.is_empty() {
                self.interfaces.unreleased.remove(&it.interface.index);
            }
            if self.is_guarded_as_wanted(it) {
                self.interfaces.tried.remove(&it.interface.index);
            }
        }
        if observed.missing_entries.is_empty() {
            self.interfaces.restore_tried = None;
        }
        let was_missing = before.iter().flat_map(|before| &before.missing_entries).collect::<BTreeSet<_>>();
        let news: Vec<&String> =
            observed.missing_entries.iter().filter(|it| !was_missing.contains(it)).collect();
        if !news.is_empty() {
            self.record_of(Kind::Entries, "", "", json!({"missing": news}));
        }
        self.interfaces.adopted.get_or_insert_with(|| {
            let hooks = |it: &ObservedInterface| it.attachments.iter().map(|at| at.hook as u8).collect();
            observed.interfaces.iter().map(|it| (it.interface.index, hooks(it))).collect()
        });
        let there: BTreeSet<u32> = observed.interfaces.iter().map(|it| it.interface.index).collect();
        self.interfaces.came_after.retain(|index, _| there.contains(index));
        self.interfaces.late.retain(|index, _| there.contains(index));
        self.interfaces.guarded_as.retain(|index, _| there.contains(index));
        self.interfaces.noted_as.retain(|index, _| there.contains(index));
        self.interfaces.announced.retain(|index, _| there.contains(index));
        self.interfaces.tried.retain(|index, _| there.contains(index));
        self.interfaces.unreleased.retain(|index, _| there.contains(index));
        self.interfaces.lost.retain(|(index, _), _| there.contains(index));
        self.interfaces.observed = Some(observed);
        self.interfaces.note_names();
        self.follow_interface_names();
        if !self.interfaces.wanted {
            self.release_what_is_not_named();
            self.release_again(now);
        }
        self.announce();
    }

    /// Logs where the program was on an interface at the last look and is not any more.
    fn note_lost(&mut self, before: Option<&Observed>, now: &Observed, at: Clocks) {
        for it in before.iter().flat_map(|observed| &observed.interfaces) {
            let Some(next) = now.interfaces.iter().find(|next| next.interface.index == it.interface.index)
            else {
                if it.at(Hook::Egress).is_some() {
                    let name = it.interface.name.clone();
                    self.log(Level::Info, format!("{name} is gone, and its guard with it"));
                    self.record_of(
                        Kind::Detach,
                        &name,
                        "",
                        json!({"index": it.interface.index, "gone": true}),
                    );
                }
                continue;
            };
            for hook in Hook::OF_PACKETS {
                let is_wanted = hook == Hook::Egress || wants_ingress(&self.config.policy);
                let was_on = is_wanted
                    && it.at(hook).is_some()
                    && !self.interfaces.releasing.contains(&it.interface.name);
                let is_off = next.at(hook).is_none() || is_exchanged(it.at(hook), next.at(hook));
                if was_on && is_off && self.claim(next) != Claim::None {
                    let name = &next.interface.name;
                    let line = format!(
                        "{name}: something has taken Border Guard off ({}); it is attached again",
                        hook.name()
                    );
                    let seen = self.interfaces.looked.map(|looked| looked.wall.to_string());
                    let detail = json!({"hook": hook.name(), "index": it.interface.index, "last_seen": seen});
                    self.record_of(Kind::Detach, &name.clone(), TAKEN_OFF, detail);
                    self.log(Level::Error, line);
                    let between = (self.interfaces.looked, at);
                    let lost = Lost { between, is_back: false };
                    self.interfaces.lost.insert((it.interface.index, hook as u8), lost);
                }
            }
        }
    }

    fn release_what_is_not_named(&mut self) {
        let release = std::mem::take(&mut self.interfaces.release);
        if release == Release::Nothing {
            return;
        }
        let Some(observed) = self.interfaces.observed.clone() else { return };
        for it in &observed.interfaces {
            let goes = match (release, self.claim(it)) {
                (Release::Unnamed, claim) => claim != Claim::Named,
                (_, claim) => claim == Claim::None,
            };
            if goes {
                // Also where something took the program off before: it would be attached again under the old name.
                self.interfaces.guarded_as.remove(&it.interface.index);
                // Where that is on its way, the look after it lets go.
                if self.interfaces.attaching.contains(&it.interface.index) {
                    self.interfaces.release = release;
                }
            }
            if goes && !it.attachments.is_empty() {
                self.interfaces.releasing.insert(it.interface.name.clone());
                self.ask_kernel(KernelJob::Release { interface: it.interface.clone() });
            }
        }
    }

    /// Tries again to let go what could not be let go, unless the config has come to name it.
    fn release_again(&mut self, now: Clocks) {
        let Some(observed) = self.interfaces.observed.take() else { return };
        for it in &observed.interfaces {
            let (index, name) = (it.interface.index, &it.interface.name);
            let is_due = self.interfaces.unreleased.get(&index).is_some_and(|tried| !tried.is_just_now(now));
            if is_due && !self.config.policy.guards(name) && self.interfaces.releasing.insert(name.clone()) {
                self.interfaces.guarded_as.remove(&index);
                self.ask_kernel(KernelJob::Release { interface: it.interface.clone() });
            }
        }
        self.interfaces.observed = Some(observed);
    }

    /// Attaches, forgets and restores what the last look shows to be needed.
    pub(super) fn mend_interfaces(&mut self, now: Clocks) {
        // What an earlier daemon left goes on being guarded where the first config can't be made live.
        if self.publishing.generation() == 0 || self.config.is_to_come() {
            return;
        }
        let Some(observed) = self.interfaces.observed.take() else { return };
        if observed.interfaces.iter().any(|it| self.lacks(it).is_some()) {
            self.attach_what_lacks(&observed.interfaces, now);
        }
        for stray in observed.strays.iter().filter(|stray| !stray.is_alive) {
            if self.interfaces.forgetting.insert(stray.entry.clone()) {
                self.ask_kernel(KernelJob::Forget(stray.clone()));
            }
        }
        let was_tried = self.interfaces.restore_tried.as_ref().is_some_and(|tried| tried.is_just_now(now));
        if !observed.missing_entries.is_empty() && !self.interfaces.restoring && !was_tried {
            self.interfaces.restoring = true;
            let missing = observed.missing_entries.join(", ");
            self.log(
                Level::Error,
                format!("entries in bpffs are gone or another object's: {missing}; they are made anew"),
            );
            self.ask_kernel(KernelJob::RestoreEntries);
        }
        self.interfaces.observed = Some(observed);
    }

    /// The name by which the program is to be attached to it, where it lacks that.
    fn lacks(&self, it: &ObservedInterface) -> Option<String> {
        let known_as = self.known_as(it)?;
        // After a reload that names it anew: the kernel's side is to know it so too, over a restart.
        let is_noted = it.at(Hook::Egress).is_none_or(|at| at.attached_as == known_as)
            || self.interfaces.noted_as.get(&it.interface.index) == Some(&known_as);
        (!(is_noted && self.is_guarded_as_wanted(it))).then_some(known_as)
    }

    /// Those by which something can leave come first, and before each what is below it: XDP is refused below where it is
    /// above, and not the other way round.
    fn attach_what_lacks(&mut self, all: &[ObservedInterface], now: Clocks) {
        let (routed, others): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.has_route);
        let by_name: BTreeMap<&str, &ObservedInterface> =
            all.iter().map(|it| (it.interface.name.as_str(), it)).collect();
        for it in routed.into_iter().chain(others) {
            let lower = it.below.iter().filter_map(|name| by_name.get(name.as_str()).copied());
            let mut below: Vec<_> = lower.collect();
            below.sort_by_key(|lower| lower.below.len());
            below.into_iter().chain([it]).for_each(|it| self.attach_where_needed(it, now));
        }
    }

    fn attach_where_needed(&mut self, it: &ObservedInterface, now: Clocks) {
        let Interface { index, ref name, .. } = it.interface;
        let Some(known_as) = self.lacks(it) else { return };
        if self.interfaces.attaching.contains(&index) || self.interfaces.releasing.contains(name) {
            return;
        }
        // The rest waits for a look after these, which shows what has come meanwhile.
        if self.interfaces.attaching.len() >= AT_ONCE {
            return self.interfaces.look();
        }
        if self.interfaces.tried.get(&index).is_some_and(|tried| tried.is_just_now(now)) {
            return;
        }
        self.interfaces.attaching.insert(index);
        self.interfaces.noted_as.insert(index, known_as.clone());
        let ingress = wants_ingress(&self.config.policy);
        let interface = Interface { name: known_as, ..it.interface.clone() };
        self.ask_kernel(KernelJob::Attach { interface, ingress });
    }

    pub(super) fn attached(&mut self, index: u32, result: Result<(), String>, now: Clocks) {
        self.interfaces.attaching.remove(&index);
        let next = Try::after(self.interfaces.tried.get(&index), result, now);
        self.interfaces.tried.insert(index, next);
        // What it has now is for the kernel to say.
        self.interfaces.look();
    }

    pub(super) fn released(
        &mut self,
        interface: &Interface,
        result: Result<Option<u64>, String>,
        now: Clocks,
    ) {
        let Interface { index, name, .. } = interface;
        self.interfaces.releasing.remove(name);
        let next = Try::after(self.interfaces.unreleased.get(index), result.clone().map(drop), now);
        self.interfaces.unreleased.insert(*index, next);
        match result {
            Ok(sent) => {
                self.log(Level::Info, format!("{name} is not guarded any more: the config does not name it"));
                let mut detail = json!({"index": index});
                if let Some(sent) = sent {
                    detail["sent"] = sent.into();
                }
                self.record_of(Kind::Detach, name, "", detail);
            }
            Err(error) => self.log(Level::Warn, format!("{name} can't be let go: {error}")),
        }
        self.interfaces.look();
    }

    pub(super) fn forgotten(&mut self, stray: &Stray, result: Result<(), String>) {
        self.interfaces.forgetting.remove(&stray.entry);
        // Where it can't be forgotten, the next look that something else asks for tries it again: not at once.
        if let Some(observed) = &mut self.interfaces.observed {
            observed.strays.retain(|it| it.entry != stray.entry);
        }
        match result {
            Ok(()) => self.interfaces.look(),
            Err(error) => self.log(
                Level::Warn,
                format!("the entry of an interface that is gone can't be removed: {error}"),
            ),
        }
    }

    pub(super) fn restored(&mut self, result: Result<(), String>, now: Clocks) {
        self.interfaces.restoring = false;
        let next = Try::after(self.interfaces.restore_tried.as_ref(), result, now);
        self.interfaces.restore_tried = Some(next);
        self.interfaces.look();
    }

    /// Logs and records what is guarded newly or otherwise than before.
    fn announce(&mut self) {
        let Some(observed) = self.interfaces.observed.take() else { return };
        for it in &observed.interfaces {
            // What begins again is news, whatever was there when the daemon started.
            if it.attachments.is_empty() {
                self.interfaces.announced.remove(&it.interface.index);
                self.interfaces.adopted.iter_mut().for_each(|all| {
                    all.remove(&it.interface.index);
                });
            }
            if !it.attachments.iter().any(|at| at.is_current) {
                continue;
            }
            let name = it.interface.name.clone();
            let hooks: Vec<(Hook, u32)> = it.attachments.iter().map(|at| (at.hook, at.link)).collect();
            let said = (name.clone(), hooks);
            let before = self.interfaces.announced.insert(it.interface.index, said.clone());
            if before.as_ref() == Some(&said) {
                continue;
            }
            let words: Vec<String> =
                it.attachments.iter().map(|at| format!("{} by {}", at.hook.name(), at.how.name())).collect();
            let had_egress = |hooks: &[(Hook, u32)]| hooks.iter().any(|(hook, _)| *hook == Hook::Egress);
            let is_new = before
                .as_ref()
                .is_none_or(|(old, hooks)| !had_egress(hooks) || (*old != name && *hooks != said.1));
            let known = it.sent_before.filter(|_| is_new && it.at(Hook::Egress).is_some());
            let before_it = known.filter(|sent| *sent > 0);
            let sent = before_it.map(|sent| format!("; it had sent {sent} packets when that began"));
            let line = format!("{name} is guarded: {}{}", words.join(", "), sent.unwrap_or_default());
            let index = it.interface.index;
            let is_late = known.is_some_and(|sent| self.interfaces.note_late(index, sent, self.now));
            self.log(if is_late { Level::Warn } else { Level::Info }, line);
            if is_late && self.interfaces.was_bare_at_start(index) {
                let last_seen = self.guarded_until.map(|until| until.to_string());
                let detail = json!({"hook": Hook::Egress.name(), "index": index, "last_seen": last_seen});
                self.record_of(Kind::Detach, &name, NOT_FOUND, detail);
            }
            let now: BTreeSet<u8> = it.attachments.iter().map(|at| at.hook as u8).collect();
            let adopted = self.interfaces.adopted.as_ref().and_then(|all| all.get(&it.interface.index));
            let is_taken_over = before.is_none() && adopted == Some(&now);
            if !is_taken_over && before.is_none_or(|(_, hooks)| hooks != said.1) {
                let hooks: Vec<&str> = it.attachments.iter().map(|at| at.hook.name()).collect();
                let mut detail = json!({"hooks": hooks, "index": it.interface.index});
                if let Some(sent) = known {
                    detail["sent_before"] = sent.into();
                }
                self.record_of(Kind::Attach, &name, "", detail);
            }
        }
        self.interfaces.observed = Some(observed);
    }

    /// Interfaces that pins select by their names, and that are not there: renamed, or not made yet. A glob may stand for
    /// what comes and goes.
    pub(super) fn problems_of_pins_interfaces(&self, problems: &mut Vec<Problem>) {
        if self.interfaces.observed.is_none() {
            return;
        }
        let facts = self.facts_of(&self.config.policy, self.config.wanted_cgroups());
        for Beyond { what, count, room } in
            facts.map(|facts| beyond(&self.config.policy, &facts)).unwrap_or_default()
        {
            let message = format!(
                "there are {count}, and the tables have room for {room}: every one counts as selected"
            );
            problems.push(Problem::of(ProblemCode::SelectorsFull, what, message));
        }
        for (name, earlier, pins) in self.interfaces.selected_by_earlier_names(&self.config.policy) {
            let message = format!(
                "it was {earlier} before; for {} it counts as that until the daemon is started anew",
                pins.join(", ")
            );
            problems.push(Problem::of(ProblemCode::InterfaceRenamed, name, message));
        }
        let here: BTreeSet<&str> = self.interfaces.names().map(|(_, name)| name).collect();
        let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pin in &self.config.policy.pins {
            let names = pin.select.interfaces.iter().filter(|it| !it.is_glob()).map(|it| it.as_str());
            let is_known = |name: &str| here.contains(name) || self.interfaces.was_called(name);
            for name in names.filter(|name| !is_known(name)) {
                lacking.entry(name).or_default().push(&pin.name);
            }
        }
        for (name, pins) in lacking {
            let message =
                format!("there is no such interface, and nothing is known by it for {}", pins.join(", "));
            problems.push(Problem::of(ProblemCode::PinInterfaceMissing, name, message));
        }
    }
}
