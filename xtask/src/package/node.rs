//! The image as a container of the DaemonSet in `packaging/kubernetes`: by `runc`, on a node that namespaces of this machine
//! make.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::place::{self, only_file};
use crate::{
    files::{copy_file, create_dir, remove},
    kubernetes::VALIDATE,
    run,
    setup::packages::{self, Purpose},
    workspace,
};

const TEST: &str = include_str!("on_node.sh");
/// Reads the manifest, of which the test repeats nothing.
const POD: &str = include_str!("pod.py");
const SENDER: &str = include_str!("sender.py");
/// The test ends by itself before that.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Runs the container and says what came of it.
pub(super) fn check() -> Result<()> {
    if !workspace::is_root() {
        bail!("the node is made of namespaces, as root");
    }
    packages::ensure(Purpose::Node)?;
    VALIDATE.ensure()?;
    let folder = workspace::target_dir().join("package-node");
    remove(&folder)?;
    create_dir(&folder)?;
    copy_file(&only_file(&place::folder(), "tar")?, &folder.join("image.oci.tar"))?;
    let manifest = workspace::root().join("packaging/kubernetes/daemonset.yaml");
    copy_file(&manifest, &folder.join("daemonset.yaml"))?;
    for (name, text) in [("run", TEST), ("pod.py", POD), ("sender.py", SENDER)] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let mut test = Command::new("bash");
    test.arg(folder.join("run")).arg(&folder);
    test.env("PYTHONPATH", VALIDATE.folder()).env("PYTHONDONTWRITEBYTECODE", "1");
    if !run::shown(&mut test, LIMIT)?.success() {
        bail!("the image does not do on a node what it should");
    }
    remove(&folder)
}
