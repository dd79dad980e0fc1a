//! Groups of jurisdictions: those of the config resolved to sets, beside the built-in ones.

use std::collections::BTreeMap;

use guard_common::jurisdiction::Jurisdiction;

use super::error::{ErrorKind, Wanted};
use super::jurisdiction_set::JurisdictionSet;
use super::raw::{Raw, RawGroup};
use super::read::Text;
use super::sink::Sink;
use super::suggest::nearest;
use super::values;

/// The members of the built-in group of this name; `None` where there is none.
pub type BuiltinGroups<'a> = &'a dyn Fn(&str) -> Option<Vec<Jurisdiction>>;

/// The built-in groups of [`crate::groups`].
#[must_use]
pub fn builtin(name: &str) -> Option<Vec<Jurisdiction>> {
    crate::groups::builtin(name).map(|group| group.jurisdictions().collect())
}

/// The names of the built-in groups.
fn builtin_names() -> impl Iterator<Item = &'static str> {
    crate::groups::all().map(|group| group.name)
}

/// Every group that a config may name.
#[derive(Debug)]
pub(super) struct Groups {
    named: BTreeMap<String, Group>,
}

#[derive(Debug)]
struct Group {
    set: JurisdictionSet,
    /// The groups of the config among its members.
    inner: Vec<String>,
}

/// What a word stands for where jurisdictions are expected.
enum Word<'g> {
    Jurisdiction(Jurisdiction),
    Group(&'g str),
    Neither,
}

impl Groups {
    /// Resolves the groups of the config; reports names and members that are wrong, and cycles. A group
    /// with errors is known all the same, so that its use brings no further error.
    pub(super) fn resolve(raw: &Raw, builtin: BuiltinGroups<'_>, sink: &mut Sink<'_>) -> Self {
        let builtin = builtin_names().filter_map(|name| {
            let set = builtin(name)?.into_iter().collect();
            Some((name.to_owned(), Group { set, inner: Vec::new() }))
        });
        let mut groups = Self { named: builtin.collect() };
        for group in &raw.groups {
            check_name(&group.name, sink);
            let empty = Group { set: JurisdictionSet::new(), inner: Vec::new() };
            groups.named.entry(group.name.get_ref().clone()).or_insert(empty);
        }
        for group in &raw.groups {
            groups.read_members(group, sink);
        }
        groups.unite(raw, sink);
        groups
    }

    /// The groups of the config with their members, in the order of the file.
    pub(super) fn of_config(&self, raw: &Raw) -> Vec<(String, JurisdictionSet)> {
        let names = raw.groups.iter().map(|group| group.name.get_ref());
        names.filter_map(|name| Some((name.clone(), self.named.get(name)?.set))).collect()
    }

    /// The set of jurisdictions that a value of `permit` stands for.
    pub(super) fn permit(&self, text: &str) -> Result<JurisdictionSet, ErrorKind> {
        match self.word(text) {
            Word::Jurisdiction(jurisdiction) => Ok([jurisdiction].into_iter().collect()),
            Word::Group(name) => Ok(self.named.get(name).map(|group| group.set).unwrap_or_default()),
            Word::Neither => Err(self.bad(text, Wanted::Permit)),
        }
    }

    /// The one country that a home or a site's jurisdiction stands for.
    pub(super) fn country(&self, text: &str) -> Result<Jurisdiction, ErrorKind> {
        match self.word(text) {
            Word::Jurisdiction(jurisdiction) if jurisdiction.is_country() => Ok(jurisdiction),
            Word::Jurisdiction(_) => {
                Err(ErrorKind::MarkNotCountry { text: text.to_owned(), wanted: Wanted::Country })
            }
            Word::Group(_) => Err(ErrorKind::GroupNotCountry { text: text.to_owned() }),
            Word::Neither => Err(self.bad(text, Wanted::Country)),
        }
    }

    /// The groups of the config that these values of `permit` use, directly or by way of others.
    pub(super) fn used<'t>(&self, permits: impl Iterator<Item = &'t str>) -> Vec<String> {
        let mut used: Vec<String> = Vec::new();
        let mut open: Vec<&str> = permits.collect();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(name) = open.pop() {
            if let Some((name, group)) = self.named.get_key_value(name)
                && seen.insert(name)
            {
                open.extend(group.inner.iter().map(String::as_str));
                used.push(name.clone());
            }
        }
        used
    }

    fn word(&self, text: &str) -> Word<'_> {
        match (self.named.get_key_value(text), text.parse()) {
            (_, Ok(jurisdiction)) => Word::Jurisdiction(jurisdiction),
            (Some((name, _)), Err(_)) => Word::Group(name),
            (None, Err(_)) => Word::Neither,
        }
    }

    fn read_members(&mut self, raw: &RawGroup, sink: &mut Sink<'_>) {
        let mut set = JurisdictionSet::new();
        let mut inner = Vec::new();
        for member in raw.members.iter().flat_map(|members| &members.items) {
            let text = member.get_ref();
            let error = match self.word(text) {
                Word::Jurisdiction(jurisdiction) if jurisdiction.is_country() => {
                    set.insert(jurisdiction);
                    continue;
                }
                Word::Group(name) => {
                    inner.push(name.to_owned());
                    continue;
                }
                Word::Jurisdiction(_) => {
                    ErrorKind::MarkNotCountry { text: text.clone(), wanted: Wanted::Member }
                }
                Word::Neither => self.bad(text, Wanted::Member),
            };
            sink.error(member.span().start, field(raw.name.get_ref()), error);
        }
        if let Some(group) = self.named.get_mut(raw.name.get_ref())
            && builtin_names().all(|builtin| builtin != raw.name.get_ref())
        {
            *group = Group { set, inner };
        }
    }

    /// Adds to each group the members of the groups in it, innermost first, and reports the cycles that
    /// are left. Without recursion: the depth is the file's choice.
    fn unite(&mut self, raw: &Raw, sink: &mut Sink<'_>) {
        let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
        let mut outer: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, group) in &self.named {
            waiting.insert(name.clone(), group.inner.len());
            for inner in &group.inner {
                outer.entry(inner.clone()).or_default().push(name.clone());
            }
        }
        let mut ready: Vec<String> =
            waiting.iter().filter(|&(_, &count)| count == 0).map(|(name, _)| name.clone()).collect();
        while let Some(name) = ready.pop() {
            waiting.remove(&name);
            let set = self.named.get(&name).map(|group| group.set).unwrap_or_default();
            for outer in outer.remove(&name).unwrap_or_default() {
                if let Some(group) = self.named.get_mut(&outer) {
                    group.set.extend(set.iter());
                }
                if let Some(count) = waiting.get_mut(&outer) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(outer);
                    }
                }
            }
        }
        self.report_cycles(raw, &waiting, sink);
    }

    /// Every group that waits is in a cycle or contains one that is: walking from group to waiting group
    /// leads into the cycle.
    fn report_cycles(&self, raw: &Raw, waiting: &BTreeMap<String, usize>, sink: &mut Sink<'_>) {
        let order: BTreeMap<&str, usize> =
            raw.groups.iter().map(|group| (group.name.get_ref().as_str(), group.name.span().start)).collect();
        let mut walked: BTreeMap<&str, &str> = BTreeMap::new();
        for start in raw.groups.iter().map(|group| group.name.get_ref().as_str()) {
            let mut path: Vec<&str> = Vec::new();
            let mut here = start;
            while waiting.contains_key(here) && !walked.contains_key(here) {
                walked.insert(here, start);
                path.push(here);
                let inner = self.named.get(here).map_or(&[][..], |group| &group.inner);
                match inner.iter().find(|inner| waiting.contains_key(*inner)) {
                    Some(next) => here = next,
                    None => break,
                }
            }
            if walked.get(here) != Some(&start) {
                continue;
            }
            let mut cycle: Vec<&str> = path.into_iter().skip_while(|&name| name != here).collect();
            let first = (0..cycle.len()).min_by_key(|&index| cycle.get(index).and_then(|n| order.get(n)));
            cycle.rotate_left(first.unwrap_or_default());
            if let Some((&name, &at)) = cycle.first().and_then(|name| order.get_key_value(name)) {
                let path = cycle.into_iter().map(str::to_owned).collect();
                sink.error(at, field(name), ErrorKind::GroupCycle { path });
            }
        }
    }

    fn bad(&self, text: &str, wanted: Wanted) -> ErrorKind {
        let mark = || {
            let marks = [Jurisdiction::UNKNOWN, Jurisdiction::UNCERTAIN].map(Jurisdiction::as_str);
            nearest(text, marks.into_iter()).filter(|_| wanted == Wanted::Permit).map(str::to_owned)
        };
        let group = || {
            let near = nearest(text, self.named.keys().map(String::as_str));
            near.filter(|_| wanted != Wanted::Country).map(str::to_owned)
        };
        let suggestion = country_meant(text).or_else(mark).or_else(group);
        ErrorKind::BadJurisdiction { text: text.to_owned(), wanted, suggestion }
    }
}

/// The country that a text most likely means which is no country's code as it stands.
pub(crate) fn country_meant(text: &str) -> Option<String> {
    /// Codes in wide use that ISO 3166-1 does not assign: `UK` is reserved at the United Kingdom's wish,
    /// `EL` is what EU institutions write for Greece.
    const ALIASES: [(&str, &str); 2] = [("UK", "GB"), ("EL", "GR")];
    let capitals = text.trim().to_uppercase();
    let alias = ALIASES.iter().find(|&&(alias, _)| alias == capitals).map(|&(_, code)| code.to_owned());
    alias.or_else(|| capitals.parse::<Jurisdiction>().ok().map(|code| code.to_string()))
}

fn check_name(name: &Text, sink: &mut Sink<'_>) {
    let (at, text) = (name.span().start, name.get_ref());
    let reserved = |taken_by| ErrorKind::ReservedName { name: text.clone(), taken_by };
    let error = if builtin_names().any(|builtin| builtin.eq_ignore_ascii_case(text)) {
        reserved("a built-in group")
    } else {
        match text.to_ascii_uppercase().parse::<Jurisdiction>().or_else(|_| text.parse()) {
            Ok(jurisdiction) if jurisdiction.is_country() => reserved("a country's code"),
            Ok(_) => reserved("a mark"),
            Err(_) => match values::name(text) {
                Ok(_) => return,
                Err(error) => error,
            },
        }
    };
    sink.error(at, field(text), error);
}

fn field(group: &str) -> String {
    format!("groups.{}", super::read::bare(group))
}
