//! The converter of Sigma rules, for the test of `packaging/sigma`: `sigma-cli` and its backends.

use crate::python::PythonTool;

/// The suite that needs it.
pub(crate) const SUITE: &str = "e2e_sigma";

pub(crate) const SIGMA: PythonTool =
    PythonTool { name: "sigma-cli", folder: "sigma", requirements: include_str!("sigma/requirements.txt") };
