//! What the guard is given: the config and the exemption.
use std::path::Path;

use anyhow::Result;

use super::world::{DUBLIN, Family, PLACES, US};
use crate::bed;
use crate::netns::HOST_INTERFACE;
use crate::service::MAILBOX_PORT;
use crate::signing::APPROVAL;

/// The pin's name.
pub(super) const PIN: &str = "mailbox";

/// The exemption's id.
pub(super) const EXEMPTION: &str = "mlat-2014-dublin-1";

/// Where the guard keeps its things.
#[derive(Debug)]
pub(super) struct Paths<'a> {
    pub(super) socket: &'a Path,
    pub(super) state: &'a Path,
    pub(super) pins: &'a Path,
}

/// The user that the mail service runs as, whose flows are the mailbox's whatever their ports are.
pub(super) const MAIL_USER: u32 = 8143;
/// The user that the service of the address book runs as.
pub(super) const ADDRESS_BOOK_USER: u32 = 8080;

/// The config: three sites, and one pin that knows the mailbox by source address and port, and by the user that sends.
pub(super) fn config(paths: &Paths<'_>) -> Result<String> {
    let mut text = format!(
        "[host]\ninterfaces = [{HOST_INTERFACE:?}]\n\n\
         [control]\nsocket = {:?}\n\n\
         [state]\ndirectory = {:?}\npin_path = {:?}\n",
        paths.socket, paths.state, paths.pins,
    );
    for place in PLACES {
        if let Some((name, cidrs)) = place.site {
            let jurisdiction = place.jurisdiction;
            text +=
                &format!("\n[[site]]\nname = {name:?}\njurisdiction = {jurisdiction:?}\ncidrs = {cidrs:?}\n");
        }
    }
    let (v4, v6) = (DUBLIN.address(Family::V4)?, DUBLIN.address(Family::V6)?);
    text += &format!(
        "\n[[pin]]\nname = {PIN:?}\nhome = \"IE\"\npermit = [\"EU\"]\naction = \"drop\"\n\n\
         [[pin.select]]\nsources = [\"{v4}/32\", \"{v6}/128\"]\nports = [\"tcp/{MAILBOX_PORT}\"]\n\n\
         [[pin.select]]\nusers = [{MAIL_USER}]\nsent_by = \"socket\"\n"
    );
    Ok(text)
}

/// Who signs receipts, and who stamps them.
pub(super) fn record(host_key: &Path, time_stamp: &[String]) -> String {
    format!("\n[record]\nhost_key = {host_key:?}\ntime_stamp = {time_stamp:?}\n")
}

/// The exemption: a treaty request that names one recipient, by its two addresses, and asks for two approvals.
pub(super) fn exemption() -> Result<String> {
    document(EXEMPTION)
}

/// The same mail for the same recipient, on a warrant alone.
pub(super) fn warrant() -> Result<String> {
    Ok(document("warrant-2013")?.replace("\"treaty-request\"", "\"foreign-order\""))
}

fn document(id: &str) -> Result<String> {
    let (v4, v6) = (US.address(Family::V4)?, US.address(Family::V6)?);
    let cidrs = [format!("{v4}/32"), format!("{v6}/128")];
    // No ports: the client's is any.
    Ok(bed::exemption(id, PIN, &cidrs.each_ref().map(String::as_str), 3600, None) + APPROVAL)
}

#[cfg(test)]
mod tests {
    use guard_user::exemption::{self, Surroundings};

    use super::*;

    #[test]
    fn the_config_is_toml_with_all_its_parts() {
        let paths =
            Paths { socket: Path::new("/run/a b.sock"), state: Path::new("/s"), pins: Path::new("/p") };
        let text = config(&paths).unwrap();
        for part in [
            "socket = \"/run/a b.sock\"",
            "[[pin]]",
            "name = \"boston-office\"",
            "tcp/8143",
            "2001:db8:1::10/128",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("[[site]]").count(), 3, "one place is in no site");
    }

    #[test]
    fn the_exemption_is_free_of_errors() {
        let now = Some(jiff::Timestamp::now());
        let surroundings = Surroundings { now, ..Surroundings::default() };
        for text in
            [exemption().unwrap(), crate::bed::exemption("a", "b", &["192.0.2.0/24"], 60, Some(9_000))]
        {
            exemption::parse(Path::new("x.toml"), text.as_bytes(), &surroundings)
                .unwrap_or_else(|errors| panic!("{errors}"));
        }
    }
}
