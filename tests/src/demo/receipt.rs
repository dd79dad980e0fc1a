//! A receipt, and what `ssh-keygen` and `openssl` say of it.
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;

/// A receipt with its signature and its time stamp beside it.
#[derive(Debug)]
pub(super) struct Receipt {
    file: PathBuf,
    allowed: PathBuf,
    authority: PathBuf,
    host: String,
    /// Bytes that it says crossed.
    pub(super) bytes: u64,
    /// Who received them.
    pub(super) recipient: String,
    /// How many signed the document.
    pub(super) signers: usize,
}

#[derive(Deserialize)]
struct Content {
    host: String,
    bytes: u64,
    recipients: Vec<Named>,
    signers: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Receipt {
    /// Reads it; `key` is the host's public key, as somebody else than the host has handed it over.
    pub(super) fn read(file: PathBuf, key: &Path, authority: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let Content { host, bytes, recipients, signers } =
            serde_json::from_str(&text).context("the receipt is not as expected")?;
        let key = fs::read_to_string(key).with_context(|| format!("cannot read {}", key.display()))?;
        let allowed = file.with_file_name("allowed");
        fs::write(&allowed, format!("{host} {key}")).context("cannot write the host's key")?;
        let recipient = recipients.into_iter().next().map(|it| it.name).unwrap_or_default();
        Ok(Self { file, allowed, authority, host, bytes, recipient, signers: signers.len() })
    }

    /// Whether `ssh-keygen` takes the signature for the host's.
    pub(super) fn is_signed(&self) -> Result<bool> {
        let receipt = File::open(&self.file).context("cannot read the receipt")?;
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-Y", "verify", "-n", "borderguard-receipt", "-I", &self.host, "-f"])
            .arg(&self.allowed);
        command.arg("-s").arg(self.file.with_added_extension("sig")).stdin(receipt);
        let output = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        Ok(output.context("cannot run ssh-keygen")?.success())
    }

    /// Whether `openssl` takes the time stamp for the authority's on receipt and signature.
    pub(super) fn is_stamped(&self) -> Result<bool> {
        let whole = self.file.with_file_name("stamped");
        let mut bytes = fs::read(&self.file).context("cannot read the receipt")?;
        bytes.extend(fs::read(self.file.with_added_extension("sig")).context("cannot read its signature")?);
        fs::write(&whole, bytes).context("cannot write what is stamped")?;
        let mut command = Command::new("openssl");
        command.args(["ts", "-verify", "-data"]).arg(&whole);
        command.arg("-in").arg(self.file.with_added_extension("tsr")).arg("-CAfile").arg(&self.authority);
        let output = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        Ok(output.context("cannot run openssl")?.success())
    }

    /// Alters one byte of it.
    pub(super) fn alter(&self) -> Result<()> {
        let mut bytes = fs::read(&self.file).context("cannot read the receipt")?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(&self.file, bytes).context("cannot write the receipt")
    }
}
