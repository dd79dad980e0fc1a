//! A time-stamping authority of the demo's own, by `openssl ts`: a root, a certificate that may stamp, and the command that
//! answers requests.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bed::PATIENCE;
use crate::proc::run_to_end;

/// The authority's files.
#[derive(Debug)]
pub(super) struct Authority(PathBuf);

impl Authority {
    /// Makes it in a folder of its own below this one.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let authority = Self(folder.join("authority"));
        fs::create_dir(&authority.0).context("cannot make the authority's folder")?;
        let at = authority.0.display();
        let config = format!(
            "[tsa]\ndefault_tsa=t\n[t]\nserial={at}/serial\nsigner_cert={at}/tsa.pem\nsigner_key={at}/tsa.key\n\
             signer_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\naccuracy=secs:1\ness_cert_id_alg=sha256\n"
        );
        let extensions = "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n";
        for (name, text) in [("tsa.conf", config.as_str()), ("ext", extensions), ("serial", "01")] {
            fs::write(authority.0.join(name), text).with_context(|| format!("cannot write {name}"))?;
        }
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256";
        for command in [
            format!("req -x509 -keyout ca.key -out ca.pem -days 30 -subj /CN=root {key}"),
            format!("req -keyout tsa.key -out tsa.csr -subj /CN=stamps {key}"),
            "x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tsa.pem -days 20 -sha256 -extfile ext"
                .to_owned(),
        ] {
            authority.openssl(&command)?;
        }
        Ok(authority)
    }

    /// The certificate by which its stamps are verified.
    pub(super) fn root(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// What the config names as `record.time_stamp`.
    pub(super) fn command(&self) -> [String; 4] {
        let script =
            "cat > \"$0/q\" && openssl ts -reply -queryfile \"$0/q\" -config \"$0/tsa.conf\" 2>/dev/null";
        ["/bin/sh", "-c", script, &self.0.to_string_lossy()].map(str::to_owned)
    }

    fn openssl(&self, words: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).current_dir(&self.0);
        let (status, _, complaint) = run_to_end("openssl", command, PATIENCE)?;
        if !status.success() {
            bail!("`openssl {words}` failed: {}", complaint.trim());
        }
        Ok(())
    }
}
