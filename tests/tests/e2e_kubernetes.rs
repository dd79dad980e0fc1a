//! The manifest of `packaging/kubernetes`: Kubernetes' own schema takes it, its policy is one that observes, and it says the
//! same as the systemd unit and the page about it. `cargo xtask package --check oci` runs its container.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop at the line that says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use guard_tests::program;
use serde_json::Value;

fn here(path: &str) -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn manifest() -> PathBuf {
    here("../packaging/kubernetes/daemonset.yaml")
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", here("../.tools/kubernetes")).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// What a program printed, to both of its outputs; it has to end well.
fn said(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(done.status.success(), "{command:?}: {said}");
    said
}

/// The manifest's document of this kind.
fn document(kind: &str) -> Value {
    const READ: &str =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let documents: Vec<Value> =
        serde_json::from_str(&said(python().args(["-c", READ]).arg(manifest()))).unwrap();
    documents.into_iter().find(|document| document["kind"] == kind).unwrap()
}

fn pod() -> Value {
    document("DaemonSet")["spec"]["template"]["spec"].clone()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
#[ignore = "needs root and BPF"]
fn kubernetes_takes_the_manifest_and_nothing_in_it_is_unknown_to_it() {
    // The first one that has `appArmorProfile`, and the newest one.
    for version in ["1.30", "1.37"] {
        let mut validate = python();
        validate.args(["-m", "kubernetes_validate", "--strict", "--kubernetes-version", version]);
        let said = said(validate.arg(manifest()));
        for kind in ["namespace", "serviceaccount", "configmap", "daemonset"] {
            assert!(said.contains(&format!(" passed for resource {kind}/")), "{version}: {said}");
        }
    }
    // It would say so.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    let text = fs::read_to_string(manifest()).unwrap();
    fs::write(&wrong, text.replacen("hostPID: true", "hostPid: true", 1)).unwrap();
    let mut validate = python();
    let refused = validate.args(["-m", "kubernetes_validate", "--strict"]).arg(wrong).output().unwrap();
    assert!(!refused.status.success());
}

#[test]
#[ignore = "needs root and BPF"]
fn its_policy_observes_and_check_finds_nothing_wrong_with_it() {
    let policy = document("ConfigMap")["data"]["policy.toml"].as_str().unwrap().to_owned();
    assert!(policy.lines().any(|line| line == "observe = true"), "{policy}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    fs::write(&file, policy).unwrap();
    let mut check = Command::new(program::borderguard().unwrap());
    let said = said(check.args(["check", "--text-only"]).arg(file));
    assert!(said.contains("no errors, no warnings"), "{said}");
}

#[test]
#[ignore = "needs root and BPF"]
fn it_has_the_capabilities_of_the_unit_and_the_version_of_the_program() {
    let pod = pod();
    let container = &pod["containers"][0];
    let capabilities = &container["securityContext"]["capabilities"];
    assert_eq!(texts(&capabilities["drop"]), ["ALL"]);
    let unit = include_str!("../../packaging/borderguard.service");
    let bounding = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let mut expected: Vec<&str> =
        bounding.split(' ').map(|name| name.strip_prefix("CAP_").unwrap()).collect();
    let mut added = texts(&capabilities["add"]);
    expected.sort_unstable();
    added.sort_unstable();
    assert_eq!(added, expected);
    let image = container["image"].as_str().unwrap();
    assert!(image.ends_with(concat!(":", env!("CARGO_PKG_VERSION"))), "{image}");
}

#[test]
#[ignore = "needs root and BPF"]
fn the_page_about_it_has_what_it_mounts_and_what_it_may() {
    let pod = pod();
    let container = &pod["containers"][0];
    let docs = include_str!("../../docs/kubernetes.md");
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(!mounts.is_empty());
    let paths = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap());
    for word in paths.chain(texts(&container["securityContext"]["capabilities"]["add"])) {
        assert!(docs.contains(&format!("`{word}`")), "{word} in docs/kubernetes.md");
    }
}
