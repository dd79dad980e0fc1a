//! Who approves exemptions: two people with SSH keys, and the file and the config that name them.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::proc::run_to_end;

/// Who writes the documents and loads them, and signs none: a signer without a key, the user root.
pub const SUBMITTER: &str = "aoife@example.org";
/// Who approves as `legal`.
pub const LEGAL: &str = "niamh@example.org";
/// Who approves as `compliance`.
pub const COMPLIANCE: &str = "ciaran@example.org";
/// A person with a key of their own whom the config does not name.
pub const STRANGER: &str = "mallory@example.com";

/// The key by which the host signs receipts.
pub const HOST: &str = "host";

/// The signers with their roles.
const SIGNERS: [(&str, &str); 2] = [(LEGAL, "legal"), (COMPLIANCE, "compliance")];

/// What a document asks for: one approval in each of the two roles.
pub const APPROVAL: &str = "\n[approval]\nsubmitter = \"aoife@example.org\"\n\n\
    [[approval.required]]\nrole = \"legal\"\ncount = 1\n\n\
    [[approval.required]]\nrole = \"compliance\"\ncount = 1\n";

/// The SHA-256 of a file as `sha256sum` prints it, by which a script says which document is signed.
///
/// # Errors
/// Where it can't be read.
pub fn sha256_of(file: &Path) -> Result<String> {
    let mut command = Command::new("sha256sum");
    command.arg(file);
    let (status, printed, complaint) = run_to_end("sha256sum", command, std::time::Duration::from_secs(60))?;
    ensure!(status.success(), "sha256sum: {complaint}");
    Ok(printed.split(' ').next().unwrap_or_default().to_owned())
}

/// Keys of the signers, of one stranger and of the host, in a folder.
#[derive(Debug)]
pub struct Signers {
    folder: PathBuf,
}

impl Signers {
    /// Has `ssh-keygen` make the keys, and writes the file of allowed signers beside them.
    ///
    /// # Errors
    /// Without `ssh-keygen`, or where the folder can't be written.
    pub fn new(folder: &Path) -> Result<Self> {
        let signers = Self { folder: folder.join("signers") };
        fs::create_dir(&signers.folder)
            .with_context(|| format!("cannot make {}", signers.folder.display()))?;
        let mut allowed = String::new();
        for who in [LEGAL, COMPLIANCE, STRANGER, HOST] {
            let key = signers.key(who);
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", who, "-f"]).arg(&key);
            let (status, _, complaint) =
                run_to_end("ssh-keygen", command, std::time::Duration::from_secs(60))?;
            ensure!(status.success(), "ssh-keygen made no key: {complaint}");
            let public = fs::read_to_string(key.with_added_extension("pub"))
                .with_context(|| format!("cannot read the public half of {}", key.display()))?;
            if SIGNERS.iter().any(|(signer, _)| *signer == who) {
                allowed += &format!("{who} namespaces=\"borderguard-*\" {public}");
            }
        }
        let file = signers.allowed();
        fs::write(&file, allowed).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(signers)
    }

    /// The private key of one of them.
    pub fn key(&self, who: &str) -> PathBuf {
        self.folder.join(who.split('@').next().unwrap_or(who))
    }

    /// The fingerprint of the key of one of them, as `ssh-keygen -l` has it.
    ///
    /// # Errors
    /// Where it can't be run.
    pub fn fingerprint(&self, who: &str) -> Result<String> {
        let mut command = Command::new("ssh-keygen");
        command.arg("-lf").arg(self.key(who));
        let (_, out, _) = run_to_end("ssh-keygen", command, std::time::Duration::from_secs(60))?;
        out.split_whitespace().nth(1).map(str::to_owned).context("ssh-keygen shows no fingerprint")
    }

    /// Has one of them sign a file for a purpose, as `FILE.sig` in the place of one that is there.
    ///
    /// # Errors
    /// Where `ssh-keygen` does not.
    pub fn sign(&self, who: &str, namespace: &str, file: &Path) -> Result<()> {
        let _none_yet = fs::remove_file(file.with_added_extension("sig"));
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(self.key(who)).arg(file);
        let (status, _, complaint) = run_to_end("ssh-keygen", command, std::time::Duration::from_secs(60))?;
        ensure!(status.success(), "ssh-keygen does not sign: {complaint}");
        Ok(())
    }

    fn allowed(&self) -> PathBuf {
        self.folder.join("allowed_signers")
    }

    /// The sections of the config by which their approvals are asked for.
    pub fn config(&self) -> String {
        let mut text = format!("\n[approval]\nallowed_signers = {:?}\n", self.allowed());
        for (identity, role) in SIGNERS {
            text += &format!("\n[[approval.signer]]\nidentity = {identity:?}\nroles = [{role:?}]\n");
        }
        text += &format!(
            "\n[[approval.signer]]\nidentity = {SUBMITTER:?}\nroles = [\"drafting\"]\nuser = \"root\"\n"
        );
        let needed = SIGNERS.map(|(_, role)| format!("{{ role = {role:?}, count = 1 }}"));
        text += &format!("\n[[approval.rule]]\nrequired = [{}]\n", needed.join(", "));
        text
    }

    /// The section by which both sign a config that opens.
    pub fn policy(&self) -> String {
        let needed = SIGNERS.map(|(_, role)| format!("{{ role = {role:?}, count = 1 }}"));
        format!("\n[approval.policy]\nrequired = [{}]\n", needed.join(", "))
    }
}
