//! The layers of a crate: which modules at its top may import which.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Edge;

/// A module at the top of a crate.
pub(super) struct Layer {
    pub(super) module: &'static str,
    /// The modules below it that it may import.
    pub(super) may: &'static [&'static str],
}

/// An import against the layers that is still there.
pub(super) struct Exception {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) why: &'static str,
}

/// What is wrong with the imports of the crate in `folder`. `layers` are listed from the bottom up.
pub(super) fn findings(
    folder: &str,
    edges: &BTreeSet<Edge>,
    layers: &[Layer],
    exceptions: &[Exception],
) -> Vec<String> {
    let mut findings = against_the_order(layers, exceptions);
    let mut imports: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for edge in edges {
        // The root only names what is there.
        let (Some(from), Some(to)) = (edge.from.first(), edge.to.first()) else { continue };
        if from != to {
            imports.entry((from, to)).or_default().insert(&edge.file);
        }
    }
    let mut unknown = BTreeSet::new();
    for ((from, to), files) in &imports {
        let Some(layer) = layers.iter().find(|layer| layer.module == *from) else {
            unknown.insert(*from);
            continue;
        };
        let excepted = exceptions.iter().any(|exception| (exception.from, exception.to) == (*from, *to));
        if !layer.may.contains(to) && !excepted {
            let files: Vec<&str> = files.iter().copied().collect();
            findings.push(format!(
                "{folder}: {from} may not import {to}, and does in {}; its layer is in xtask/src/tidy/known.rs",
                files.join(", ")
            ));
        }
    }
    for module in unknown {
        findings.push(format!("{folder}: {module} has no layer; give it one in xtask/src/tidy/known.rs"));
    }
    for Exception { from, to, .. } in exceptions {
        if !imports.contains_key(&(*from, *to)) {
            findings.push(format!(
                "{folder}: {from} no longer imports {to}: take the exception out of xtask/src/tidy/known.rs"
            ));
        }
    }
    findings
}

/// What is wrong with the table itself: each module may import only those that are listed before it.
fn against_the_order(layers: &[Layer], exceptions: &[Exception]) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        for to in layer.may {
            if !layers[..at].iter().any(|below| below.module == *to) {
                findings.push(format!("the table of layers lists no {to} below {}", layer.module));
            }
        }
    }
    for Exception { from, to, why } in exceptions {
        if why.is_empty() {
            findings.push(format!("the exception for {from} and {to} has no reason"));
        }
        if layers.iter().any(|layer| layer.module == *from && layer.may.contains(to)) {
            findings.push(format!("{from} may import {to} anyway: the exception is not needed"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::{imports, tree::Tree};

    const LAYERS: [Layer; 3] = [
        Layer { module: "store", may: &[] },
        Layer { module: "model", may: &["store"] },
        Layer { module: "cli", may: &["model", "store"] },
    ];

    fn check(files: &[(&str, &str)], layers: &[Layer], exceptions: &[Exception]) -> Vec<String> {
        findings("c/src", &imports::edges(&Tree::of(files), "c/src").unwrap(), layers, exceptions)
    }

    const FILES: [(&str, &str); 5] = [
        ("c/src/lib.rs", "mod store; mod model; mod cli;"),
        ("c/src/store.rs", "pub struct S;"),
        ("c/src/model/mod.rs", "mod deep;"),
        ("c/src/model/deep.rs", "use crate::store::S; use crate::cli::Table;"),
        ("c/src/cli.rs", "use crate::model; pub struct Table;"),
    ];

    #[test]
    fn an_import_from_above_is_found_and_can_be_excepted() {
        let findings = check(&FILES, &LAYERS, &[]);
        assert_eq!(
            findings,
            ["c/src: model may not import cli, and does in c/src/model/deep.rs; its layer is in \
              xtask/src/tidy/known.rs"]
        );
        let exception = Exception { from: "model", to: "cli", why: "the table is to go below" };
        assert_eq!(check(&FILES, &LAYERS, &[exception]), [""; 0]);
    }

    #[test]
    fn an_exception_that_nothing_needs_is_found() {
        let stale = Exception { from: "store", to: "cli", why: "once" };
        let findings = check(&FILES[..2], &LAYERS, &[stale]);
        assert!(findings[0].contains("store no longer imports cli"), "{findings:?}");
        let needless = Exception { from: "cli", to: "model", why: "" };
        let findings = check(&FILES, &LAYERS, &[needless]);
        assert!(findings.iter().any(|finding| finding.contains("may import model anyway")), "{findings:?}");
        assert!(findings.iter().any(|finding| finding.contains("has no reason")), "{findings:?}");
    }

    #[test]
    fn every_module_needs_a_layer_and_the_table_an_order() {
        let layers = [Layer { module: "model", may: &["store", "cli"] }, Layer { module: "store", may: &[] }];
        let findings = check(&FILES, &layers, &[]);
        for wanted in ["cli has no layer", "lists no store below model", "lists no cli below model"] {
            assert!(findings.iter().any(|finding| finding.contains(wanted)), "{wanted}: {findings:?}");
        }
    }
}
