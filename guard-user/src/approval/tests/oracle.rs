//! `ssh-keygen`, and keys that it made.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A key that `ssh-keygen` made.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) file: PathBuf,
    /// Type and key, as they stand in a file of allowed signers.
    pub(crate) public: String,
}

/// One key of each kind; the last two are too weak and of no use.
pub(crate) struct Keys {
    _folder: TempDir,
    pub(crate) keys: Vec<Key>,
}

pub(crate) const ED25519: usize = 0;
pub(crate) const OTHER_ED25519: usize = 1;
pub(crate) const RSA_3072: usize = 2;
pub(crate) const P256: usize = 3;
pub(crate) const GOOD_KEYS: usize = 6;
pub(crate) const RSA_1024: usize = 6;

const KINDS: [&[&str]; 7] = [
    &["-t", "ed25519"],
    &["-t", "ed25519"],
    &["-t", "rsa", "-b", "3072"],
    &["-t", "ecdsa", "-b", "256"],
    &["-t", "ecdsa", "-b", "384"],
    &["-t", "ecdsa", "-b", "521"],
    &["-t", "rsa", "-b", "1024"],
];

pub(crate) fn key(which: usize) -> &'static Key {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let keys = KINDS.iter().enumerate().map(|(at, kind)| {
            let file = folder.path().join(at.to_string());
            let mut command = ssh_keygen();
            command.args(*kind).args(["-q", "-N", "", "-C", "comment of it", "-f"]).arg(&file);
            assert!(run(command, b"").status.success());
            let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
            let public = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
            Key { file, public }
        });
        Keys { keys: keys.collect(), _folder: folder }
    });
    &keys.keys[which]
}

pub(crate) fn ssh_keygen() -> Command {
    let mut command = Command::new("ssh-keygen");
    command.env("TZ", "UTC");
    command
}

pub(crate) fn run(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("these tests need OpenSSH's ssh-keygen (Debian: apt-get install openssh-client): {error}")
    });
    // It may end before it has read everything, which is then in its exit code.
    let _closed = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// `ssh-keygen -Y sign`.
pub(crate) fn sign(key: &Key, namespace: &str, hash: &str, document: &[u8]) -> Vec<u8> {
    let mut command = ssh_keygen();
    command
        .args(["-q", "-Y", "sign", "-n", namespace, "-O", &format!("hashalg={hash}"), "-f"])
        .arg(&key.file);
    let output = run(command, document);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A folder in which files for the oracle are written.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    /// Whether `ssh-keygen -Y verify` takes the signature for this identity's.
    pub(crate) fn verify(
        &self,
        document: &[u8],
        signature: &[u8],
        namespace: &str,
        identity: &str,
        allowed: &[u8],
    ) -> bool {
        let (signature, allowed) = (self.write("s", signature), self.write("a", allowed));
        let mut command = about("verify", &allowed);
        command.args(["-n", namespace, "-I", identity, "-O", VERIFY_TIME, "-s"]).arg(signature);
        run(command, document).status.success()
    }

    /// The principals of the first line with the signature's key that counts now.
    pub(crate) fn find_principals(&self, signature: &[u8], allowed: &[u8]) -> Option<String> {
        let (signature, allowed) = (self.write("s", signature), self.write("a", allowed));
        let mut command = about("find-principals", &allowed);
        command.args(["-O", VERIFY_TIME, "-s"]).arg(signature);
        told(&run(command, b""))
    }

    /// The principals of every line that is for the identity.
    pub(crate) fn match_principals(&self, identity: &str, allowed: &[u8]) -> Option<String> {
        let mut command = about("match-principals", &self.write("a", allowed));
        command.args(["-I", identity]);
        told(&run(command, b""))
    }
}

/// [`NOW`](super::NOW).
const VERIFY_TIME: &str = "verify-time=20260615120000Z";

fn about(what: &str, allowed: &Path) -> Command {
    let mut command = ssh_keygen();
    command.args(["-q", "-Y", what, "-f"]).arg(allowed);
    command
}

fn told(output: &Output) -> Option<String> {
    output.status.success().then(|| String::from_utf8(output.stdout.clone()).unwrap())
}
