//! The schema of Kubernetes' manifests, and a reader of YAML, for the tests of `packaging/kubernetes`.

use crate::python::PythonTool;

/// The suite that needs them.
pub(crate) const SUITE: &str = "e2e_kubernetes";

/// It has the schema of each version of Kubernetes inside, and asks nobody for it.
pub(crate) const VALIDATE: PythonTool = PythonTool {
    name: "kubernetes-validate",
    folder: "kubernetes",
    requirements: include_str!("kubernetes/requirements.txt"),
};
