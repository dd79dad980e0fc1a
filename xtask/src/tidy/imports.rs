//! What the modules of a crate import from each other, read from its source by `syn`.
//!
//! A module is a file. Code for tests is left out. A module that takes an item by way of another one's re-export
//! imports from where the item is, and a module that only re-exports its children does not depend on them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use syn::visit::Visit;

use super::tree::Tree;

/// The names from the crate's root to a module; empty for the root itself.
pub(super) type Path = Vec<String>;

/// One import from another module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: Path,
    pub(super) to: Path,
    /// The importing file.
    pub(super) file: String,
}

/// How far re-exports of re-exports are followed.
const DEPTH: usize = 8;

/// The imports between the modules of the crate whose source is in `folder`, such as `guard-user/src`.
pub(super) fn edges(tree: &Tree, folder: &str) -> Result<BTreeSet<Edge>> {
    let mut modules = BTreeMap::new();
    for file in tree.rust() {
        let Some(path) = file.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        let Some(path) = module_path(path) else { continue };
        let parsed =
            syn::parse_file(&file.text).with_context(|| format!("{} can't be read as Rust", file.path))?;
        let mut module = Module { file: file.path.clone(), ..Module::default() };
        Reader { module: &mut module, inline: Vec::new() }.visit_file(&parsed);
        modules.insert(path, module);
    }
    let tests: Vec<Path> = modules
        .iter()
        .flat_map(|(path, module)| module.for_tests.iter().map(move |name| child(path, name)))
        .collect();
    modules.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
    let crate_ = Modules(modules);
    let mut edges = BTreeSet::new();
    for (from, module) in &crate_.0 {
        for mention in &module.mentions {
            let Some(to) = crate_.target(from, mention) else { continue };
            let facade = mention.reexport && to.starts_with(from);
            if to != *from && !facade {
                edges.insert(Edge { from: from.clone(), to, file: module.file.clone() });
            }
        }
    }
    Ok(edges)
}

/// The module of a file below a crate's source folder; none for a program's own file.
fn module_path(file: &str) -> Option<Path> {
    let mut names: Path = file.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if file == "main.rs" || file.starts_with("bin/") {
        return None;
    }
    if names.last().is_some_and(|name| name == "mod") || file == "lib.rs" {
        names.pop();
    }
    Some(names)
}

fn child(path: &[String], name: &str) -> Path {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

/// What is in one file.
#[derive(Default)]
struct Module {
    file: String,
    /// Every path that is written in it.
    mentions: Vec<Mention>,
    /// What its imports are called in here.
    aliases: BTreeMap<String, Vec<String>>,
    /// What it re-exports, by the name that it gives it; where all of a module, under `*`.
    reexports: BTreeMap<String, Vec<Vec<String>>>,
    /// The items that are defined in it.
    items: BTreeSet<String>,
    /// The child modules that are there for tests alone.
    for_tests: BTreeSet<String>,
}

/// A path as it is written, seen from the file's own module.
struct Mention {
    segments: Vec<String>,
    reexport: bool,
}

struct Modules(BTreeMap<Path, Module>);

impl Modules {
    /// The module that what is mentioned is defined in, if it is one of this crate.
    fn target(&self, from: &Path, mention: &Mention) -> Option<Path> {
        self.defined_in(self.absolute(from, &mention.segments)?, DEPTH)
    }

    /// The path from the crate's root of a path that is written in `from`.
    fn absolute(&self, from: &Path, segments: &[String]) -> Option<Path> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some(from.iter().chain(rest).cloned().collect()),
            "super" => {
                let (_, parent) = from.split_last()?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.absolute(&parent.to_vec(), rest),
                    _ => Some(parent.iter().chain(rest).cloned().collect()),
                }
            }
            name if self.0.contains_key(&child(from, name)) => {
                Some(from.iter().chain(segments).cloned().collect())
            }
            name => {
                let alias = self.0.get(from)?.aliases.get(name)?;
                // An alias of an alias is one of the same name, which would lead back to itself.
                let relative =
                    ["crate", "self", "super"].iter().any(|start| alias.first().is_some_and(|a| a == start));
                let whole: Vec<String> = alias.iter().chain(rest).cloned().collect();
                let own = alias.first().is_some_and(|name| self.0.contains_key(&child(from, name)));
                if relative || own { self.absolute(from, &whole) } else { None }
            }
        }
    }

    fn defined_in(&self, absolute: Path, depth: usize) -> Option<Path> {
        let length = (0..=absolute.len()).rev().find(|length| self.0.contains_key(&absolute[..*length]))?;
        let (module, rest) = absolute.split_at(length);
        let module = module.to_vec();
        let (Some(item), Some(depth)) = (rest.first(), depth.checked_sub(1)) else { return Some(module) };
        let content = self.0.get(&module)?;
        if item == "*" || content.items.contains(item) {
            return Some(module);
        }
        let named = content.reexports.get(item).into_iter().flatten().map(|path| (path, &rest[1..]));
        let all = content.reexports.get("*").into_iter().flatten().map(|path| (path, rest));
        for (path, rest) in named.chain(all) {
            let Some(mut whole) = self.absolute(&module, path) else { continue };
            whole.extend(rest.iter().cloned());
            if let Some(found) = self.defined_in(whole, depth)
                && (found != module)
            {
                return Some(found);
            }
        }
        Some(module)
    }
}

struct Reader<'a> {
    module: &'a mut Module,
    /// The modules within the file that are being read.
    inline: Vec<String>,
}

impl Reader<'_> {
    fn mention(&mut self, segments: Vec<String>, reexport: bool) {
        let Some(segments) = self.seen_from_the_file(segments) else { return };
        self.module.mentions.push(Mention { segments, reexport });
    }

    /// A path within inline modules, as it would be written outside of them.
    fn seen_from_the_file(&self, segments: Vec<String>) -> Option<Vec<String>> {
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        let own = segments.first().is_some_and(|segment| segment == "self");
        if self.inline.is_empty() || (ups == 0 && !own) {
            return Some(segments);
        }
        if own || ups < self.inline.len() {
            // Still within this file.
            return None;
        }
        let rest = &segments[self.inline.len()..];
        let own = (ups == self.inline.len()).then(|| "self".to_owned());
        Some(own.into_iter().chain(rest.iter().cloned()).collect())
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String], reexport: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                self.import(&path.tree, &child(before, &path.ident.to_string()), reexport)
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, before, reexport))
            }
            syn::UseTree::Name(name) => {
                let name = name.ident.to_string();
                // `a::{self}` is `a`.
                let whole = if name == "self" { before.to_vec() } else { child(before, &name) };
                let called = whole.last().cloned().unwrap_or_default();
                self.imported(whole, called, reexport);
            }
            syn::UseTree::Rename(rename) => {
                self.imported(child(before, &rename.ident.to_string()), rename.rename.to_string(), reexport);
            }
            _ => self.imported(child(before, "*"), "*".to_owned(), reexport),
        }
    }

    fn imported(&mut self, segments: Vec<String>, called: String, reexport: bool) {
        if self.inline.is_empty() {
            if reexport {
                let mut path = segments.clone();
                if called == "*" {
                    path.pop();
                }
                self.module.reexports.entry(called.clone()).or_default().push(path);
            }
            self.module.aliases.insert(called, segments.clone());
        }
        self.mention(segments, reexport);
    }

    fn item(&mut self, name: &syn::Ident) {
        if self.inline.is_empty() {
            self.module.items.insert(name.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[syn::Attribute] = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if attributes.iter().any(is_for_tests) {
            if let syn::Item::Mod(item) = item {
                self.module.for_tests.insert(item.ident.to_string());
            }
            return;
        }
        match item {
            syn::Item::Const(item) => self.item(&item.ident),
            syn::Item::Enum(item) => self.item(&item.ident),
            syn::Item::Fn(item) => self.item(&item.sig.ident),
            syn::Item::Static(item) => self.item(&item.ident),
            syn::Item::Struct(item) => self.item(&item.ident),
            syn::Item::Trait(item) => self.item(&item.ident),
            syn::Item::Type(item) => self.item(&item.ident),
            syn::Item::Union(item) => self.item(&item.ident),
            _ => {}
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inline.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.inline.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[], !matches!(item.vis, syn::Visibility::Inherited));
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // The path of `pub(in crate::a)` says who may import, and imports nothing.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            self.mention(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), false);
        }
        syn::visit::visit_path(self, path);
    }
}

/// `#[cfg(test)]`, or a condition with `test` in it.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg")
        && list.tokens.to_string().split(|letter: char| !letter.is_alphanumeric()).any(|word| word == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        edges(&Tree::of(files), "c/src")
            .unwrap()
            .iter()
            .map(|edge| format!("{} -> {}", edge.from.join("::"), edge.to.join("::")))
            .collect()
    }

    #[test]
    fn imports_are_found_however_they_are_written() {
        let files = [
            ("c/src/lib.rs", "pub mod a; pub mod b; pub mod d;"),
            ("c/src/a/mod.rs", "mod one; mod two; use crate::{b::{Thing, part}, d as other};"),
            ("c/src/a/one.rs", "use super::two::Two; fn f() { crate::d::call(); std::mem::drop(1) }"),
            ("c/src/a/two.rs", "pub struct Two; mod inner { use super::super::one; }"),
            ("c/src/b/mod.rs", "pub struct Thing; pub mod part;"),
            ("c/src/b/part.rs", "use super::Thing;"),
            ("c/src/d.rs", "pub fn call() {}"),
        ];
        assert_eq!(
            imports(&files),
            [
                "a -> b",
                "a -> b::part",
                "a -> d",
                "a::one -> a::two",
                "a::one -> d",
                "a::two -> a::one",
                "b::part -> b"
            ]
        );
    }

    #[test]
    fn a_reexport_leads_to_where_the_item_is_and_is_no_import_itself() {
        let files = [
            ("c/src/lib.rs", "mod a; mod b;"),
            (
                "c/src/a/mod.rs",
                "mod one; mod two; pub use self::one::One; pub(crate) use two::*; pub struct Own;",
            ),
            ("c/src/a/one.rs", "pub struct One;"),
            ("c/src/a/two.rs", "pub struct Two; use super::One;"),
            ("c/src/b.rs", "use crate::a; fn f(_: a::One, _: a::Two, _: a::Own) {}"),
        ];
        assert_eq!(imports(&files), ["a::two -> a::one", "b -> a", "b -> a::one", "b -> a::two"]);
    }

    #[test]
    fn code_for_tests_is_left_out() {
        let files = [
            ("c/src/lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            ("c/src/a.rs", "#[cfg(test)] mod tests { use crate::b::B; }"),
            ("c/src/b.rs", "#[cfg(all(test, unix))] use crate::a; pub struct B;"),
            ("c/src/tests/mod.rs", "use crate::a; mod deep;"),
            ("c/src/tests/deep.rs", "use crate::b;"),
            ("c/src/main.rs", "use crate::b;"),
            ("other/src/x.rs", "use crate::b;"),
        ];
        assert_eq!(imports(&files), [""; 0]);
    }
    #[test]
    fn whom_an_item_is_visible_to_is_no_import() {
        let files = [
            ("c/src/a/mod.rs", "mod one; use one::One;"),
            ("c/src/a/one.rs", "pub(in crate::a) struct One { pub(in crate::a) field: u8 }"),
        ];
        assert_eq!(imports(&files), ["a -> a::one"]);
    }
}
