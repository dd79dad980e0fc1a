//! The configs and the documents of the property.

use std::path::Path;

use jiff::SignedDuration;

use super::signers::SIGNERS;
use super::{IDS, INSTRUMENTS, RULES, now};
use crate::config::policy::Policy;
use crate::config::{self, Surroundings};
use crate::hostname::hostname;

pub(super) fn policy(folder: &Path, rule: usize) -> Policy {
    let (legal, compliance) = RULES[rule];
    let needed = [("legal", legal), ("compliance", compliance)].into_iter().filter(|(_, count)| *count > 0);
    let needed: Vec<String> =
        needed.map(|(role, count)| format!("{{ role = {role:?}, count = {count} }}")).collect();
    let signers: String = SIGNERS
        .iter()
        .map(|(_, identity, role)| {
            format!("[[approval.signer]]\nidentity = {identity:?}\nroles = [{role:?}]\n")
        })
        .collect();
    let text = format!(
        "[host]\ninterfaces = [\"eth0\"]\n[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
         select.ports = [\"tcp/143\"]\n[approval]\nallowed_signers = {:?}\n{signers}[[approval.signer]]\n\
         identity = \"aoife@example.org\"\nroles = [\"drafting\"]\nuser = \"root\"\n[[approval.rule]]\nrequired = [{}]\n",
        folder.join("allowed"),
        needed.join(", "),
    );
    config::parse(Path::new("policy.toml"), text.as_bytes(), &Surroundings::new(None)).unwrap().policy
}

pub(super) fn document(at: usize, version: u32, replaces: Option<u32>) -> String {
    let replaces = replaces.map(|version| format!("replaces = {version}\n")).unwrap_or_default();
    let (from, until) = (now() - SignedDuration::from_hours(1), now() + SignedDuration::from_hours(1));
    format!(
        "id = {:?}\nversion = {version}\n{replaces}pins = [\"mail\"]\nhosts = [{:?}]\npurpose = \"Evidence\"\n\
         data_categories = [\"e-mail content\"]\ndata_subjects = [\"customers\"]\nvalid_from = {from}\nvalid_until = {until}\n\
         [instrument]\ntype = \"treaty-request\"\nname = {:?}\narticle = \"Art. 48\"\nground = \"art-46-2-a\"\n\
         basis = \"art-6-1-c\"\nauthority = \"Central Authority, Ireland\"\nreference = \"case 2026/0142\"\n\
         agreement = \"Treaty of 18 January 2001\"\n[assessment]\nreference = \"TIA-2026-07\"\nreview_by = 2099-01-01\n\
         [exporter]\nname = \"Example Mail Ireland Ltd\"\nrole = \"controller\"\ncontact = \"privacy@example.org\"\n\
         [approval]\nsubmitter = \"aoife@example.org\"\n[[recipient]]\nname = \"Requesting authority\"\n\
         jurisdiction = \"US\"\ncidrs = [\"203.0.113.10/32\"]\n",
        IDS[at],
        hostname(),
        INSTRUMENTS[at],
    )
}
