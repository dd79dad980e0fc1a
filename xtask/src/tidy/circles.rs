//! Circles of imports: none between the modules at a crate's top, and none between the files of one module.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Edge, Path};

/// A circle that is still there, and may only become smaller.
pub(super) struct Known {
    /// The module whose files are in it, as a path from the workspace; the crate's source folder at its top.
    pub(super) of: &'static str,
    /// The files' names without their end; `mod` is the module's own file.
    pub(super) files: &'static [&'static str],
}

/// The circles between the children of one module: the module, and their names.
type Circles = BTreeMap<Path, Vec<BTreeSet<String>>>;

/// What is wrong with the circles of a crate in `folder`, given those that are known.
pub(super) fn findings(folder: &str, edges: &BTreeSet<Edge>, known: &[Known]) -> Vec<String> {
    let mut findings = Vec::new();
    let circles = circles(edges);
    let place = |module: &Path| [&[folder.to_owned()], &module[..]].concat().join("/");
    for (module, circles) in &circles {
        let of = place(module);
        for circle in circles {
            let covered = known.iter().any(|known| {
                known.of == of && circle.iter().all(|file| known.files.contains(&file.as_str()))
            });
            if !covered {
                let names: Vec<&str> = circle.iter().map(String::as_str).collect();
                findings.push(format!(
                    "{of}: a circle of imports between {}:\n{}",
                    names.join(", "),
                    evidence(edges, module, circle)
                ));
            }
        }
    }
    for known in
        known.iter().filter(|known| known.of == folder || known.of.starts_with(&format!("{folder}/")))
    {
        let module: Path =
            known.of[folder.len()..].split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let left: BTreeSet<&str> = circles
            .get(&module)
            .into_iter()
            .flatten()
            .filter(|circle| circle.iter().all(|file| known.files.contains(&file.as_str())))
            .flatten()
            .map(String::as_str)
            .collect();
        let listed: BTreeSet<&str> = known.files.iter().copied().collect();
        if left != listed {
            let left: Vec<&str> = left.into_iter().collect();
            findings.push(format!(
                "{}: its known circle of {} is smaller now: leave {} in xtask/src/tidy/known.rs",
                known.of,
                known.files.join(", "),
                if left.is_empty() { "nothing".to_owned() } else { left.join(", ") }
            ));
        }
    }
    findings
}

/// The import between two children of one module that an import of two modules is: the module, and the two.
fn between(edge: &Edge) -> (Path, String, String) {
    let common = edge.from.iter().zip(&edge.to).take_while(|(from, to)| from == to).count();
    let name = |path: &Path| path.get(common).cloned().unwrap_or_else(|| "mod".to_owned());
    (edge.from[..common].to_vec(), name(&edge.from), name(&edge.to))
}

fn circles(edges: &BTreeSet<Edge>) -> Circles {
    let mut graphs: BTreeMap<Path, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for edge in edges {
        let (module, from, to) = between(edge);
        graphs.entry(module).or_default().entry(from).or_default().insert(to);
    }
    graphs
        .into_iter()
        .map(|(module, graph)| (module, circles_of(&graph)))
        .filter(|(_, circles)| !circles.is_empty())
        .collect()
}

/// The sets of nodes each of which leads to each other one.
fn circles_of(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|node| (node, reached_from(graph, node))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (node, there) in &reached {
        if !there.contains(node) || circles.iter().any(|circle| circle.contains(*node)) {
            continue;
        }
        let back = |other: &&&String| reached.get(**other).is_some_and(|from| from.contains(node));
        circles.push(there.iter().filter(back).map(|node| (*node).clone()).collect());
    }
    circles
}

fn reached_from<'a>(graph: &'a BTreeMap<String, BTreeSet<String>>, start: &String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = graph.get(start).into_iter().flatten().collect();
    while let Some(node) = next.pop() {
        if reached.insert(node) {
            next.extend(graph.get(node).into_iter().flatten());
        }
    }
    reached
}

/// The imports that make up a circle.
fn evidence(edges: &BTreeSet<Edge>, module: &Path, circle: &BTreeSet<String>) -> String {
    let mut lines = BTreeSet::new();
    for edge in edges {
        let (of, from, to) = between(edge);
        if of == *module && circle.contains(&from) && circle.contains(&to) {
            lines.insert(format!("    {} imports {}", edge.file, edge.to.join("::")));
        }
    }
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::{imports, tree::Tree};

    fn check(files: &[(&str, &str)], known: &[Known]) -> Vec<String> {
        findings("c/src", &imports::edges(&Tree::of(files), "c/src").unwrap(), known)
    }

    const CIRCLE: [(&str, &str); 5] = [
        ("c/src/lib.rs", "mod a; mod b;"),
        ("c/src/a/mod.rs", "mod one; mod two; mod three; pub struct A;"),
        ("c/src/a/one.rs", "use super::two::Two; pub struct One;"),
        ("c/src/a/two.rs", "use super::one::One; pub struct Two;"),
        ("c/src/a/three.rs", "use super::{A, one::One};"),
    ];

    #[test]
    fn a_circle_between_files_is_found_with_its_imports() {
        let findings = check(&CIRCLE, &[]);
        assert_eq!(
            findings,
            ["c/src/a: a circle of imports between one, two:\n    c/src/a/one.rs imports a::two\n    \
              c/src/a/two.rs imports a::one"]
        );
    }

    #[test]
    fn a_circle_through_deeper_files_is_one_at_the_top() {
        let files = [
            ("c/src/lib.rs", "mod a; mod b;"),
            ("c/src/a/mod.rs", "mod deep;"),
            ("c/src/a/deep.rs", "use crate::b::B;"),
            ("c/src/b.rs", "use crate::a; pub struct B;"),
        ];
        let findings = check(&files, &[]);
        assert!(findings[0].starts_with("c/src: a circle of imports between a, b:"), "{findings:?}");
    }

    #[test]
    fn a_module_and_its_child_can_be_a_circle() {
        let files = [
            ("c/src/lib.rs", "mod a;"),
            ("c/src/a/mod.rs", "mod one; use one::One; pub struct A;"),
            ("c/src/a/one.rs", "use super::A; pub struct One;"),
        ];
        assert!(check(&files, &[])[0].starts_with("c/src/a: a circle of imports between mod, one:"));
        let files = [files[0], ("c/src/a/mod.rs", "mod one; pub use one::One; pub struct A;"), files[2]];
        assert_eq!(check(&files, &[]), [""; 0]);
    }

    #[test]
    fn a_known_circle_passes_and_may_only_shrink() {
        let known = |files| [Known { of: "c/src/a", files }];
        assert_eq!(check(&CIRCLE, &known(&["one", "two"])), [""; 0]);
        let findings = check(&CIRCLE, &known(&["one", "two", "three"]));
        assert!(findings[0].contains("is smaller now: leave one, two"), "{findings:?}");
        let findings = check(&CIRCLE[..1], &known(&["one", "two"]));
        assert!(findings[0].contains("leave nothing"), "{findings:?}");
    }
}
