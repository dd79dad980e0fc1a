//! An event in one line for people: a sentence, then the same as keys and values.

use std::fmt::Write;

use guard_common::verdict::Verdict;

use super::event::{Endpoint, Event, Process, protocol};

impl Event {
    /// The event in one line for people, without a line break.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut line = format!("{:.3} ", self.time);
        // Writing to a string does not fail.
        let _ok = sentence(self, &mut line).and_then(|()| tail(self, &mut line));
        line
    }
}

fn sentence(event: &Event, line: &mut String) -> std::fmt::Result {
    let is_call = event.hook.is_of_calls();
    let verb = if is_call { "refused" } else { verb(event.verdict) };
    write!(line, "{verb} {} ", protocol(event.protocol))?;
    match (event.source, event.destination) {
        (None, Some(destination)) => {
            line.push_str("to ");
            endpoint(destination, line)?;
        }
        (Some(source), Some(destination)) => {
            endpoint(source, line)?;
            line.push_str(" to ");
            endpoint(destination, line)?;
        }
        _ => line.push_str("from and to addresses that can't be read"),
    }
    write!(line, " in {}", event.jurisdiction)?;
    match (event.tunnel_source, event.tunnel) {
        (Some(source), Some(tunnel)) => write!(line, ", in a tunnel from {source} to {tunnel}")?,
        (None, Some(tunnel)) => write!(line, ", in a tunnel to {tunnel}")?,
        (_, None) if event.is_tunnelled => line.push_str(", in a tunnel"),
        (_, None) => {}
    }
    let pins = if event.pins.is_empty() { &event.tagged } else { &event.pins };
    match pins.as_slice() {
        [] => {}
        [pin] => write!(line, ", pin {pin}")?,
        pins => write!(line, ", pins {}", pins.join(" and "))?,
    }
    if let Some(exemption) = &event.exemption {
        write!(line, ", by exemption {}", word(exemption))?;
    }
    if let Some(Process { pid, command, .. }) = &event.process {
        write!(line, ", by {} ({pid})", word(command))?;
    }
    let (packets, s) = (event.packets, if event.packets == 1 { "" } else { "s" });
    match is_call {
        true => write!(line, ", {packets} call{s}")?,
        false => write!(line, ", {packets} packet{s} of {} bytes", event.bytes)?,
    }
    write!(line, ": {}", decapitalized(event.reason.meaning()))
}

/// What happened to packets of a verdict, as a sentence begins.
pub(super) const fn verb(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Drop => "dropped",
        Verdict::Flag => "flagged",
        Verdict::Observe => "would drop",
        Verdict::Pass => "passed",
    }
}

fn tail(event: &Event, line: &mut String) -> std::fmt::Result {
    write!(
        line,
        " [kind=event id={}/{} phase={} verdict={} reason={} severity={} pins={} jurisdiction={} placed_by={}",
        event.session,
        event.sequence,
        event.phase.name(),
        event.verdict.name(),
        event.reason.name(),
        event.severity().name(),
        event.pins.join(","),
        event.jurisdiction,
        event.placed_by.name()
    )?;
    if let Some(rule) = &event.rule {
        write!(line, " rule={}", word(&format!("{}:{}", rule.file, rule.line)))?;
    }
    write!(line, " hook={}", event.hook.name())?;
    match &event.interface {
        Some(name) => write!(line, " interface={}", word(name))?,
        None if event.hook.is_of_calls() => {}
        None => write!(line, " interface_index={}", event.ifindex)?,
    }
    if !event.volumes.is_empty() {
        let volumes: Vec<&str> = event.volumes.iter().map(|path| &**path).collect();
        write!(line, " volumes={}", word(&volumes.join(",")))?;
    }
    if let Some(cgroup) = &event.cgroup {
        write!(line, " cgroup={}", word(cgroup))?;
    }
    if let Some(process) = &event.process {
        write!(line, " pid={} command={} uid={}", process.pid, word(&process.command), process.uid)?;
        let names = [("user", process.user.as_deref()), ("unit", process.unit())];
        for (key, name) in names.into_iter().filter_map(|(key, name)| Some((key, name?))) {
            write!(line, " {key}={}", word(name))?;
        }
    }
    if let Some(why) = event.people.why_not() {
        write!(line, " people={why}")?;
    }
    if let Some(exemption) = &event.exemption {
        write!(line, " exemption={}", word(exemption))?;
    }
    write!(
        line,
        " flow_packets={} flow_bytes={} generation={}",
        event.flow_packets, event.flow_bytes, event.generation
    )?;
    if let Some(policy) = &event.policy {
        write!(line, " policy={policy}")?;
    }
    if let Some(id) = &event.community_id {
        write!(line, " community_id={id}")?;
    }
    line.push(']');
    Ok(())
}

fn endpoint(end: Endpoint, line: &mut String) -> std::fmt::Result {
    match (end.ip, end.port) {
        (ip, None) => write!(line, "{ip}"),
        (ip, Some(port)) => write!(line, "{}", std::net::SocketAddr::new(ip, port)),
    }
}

/// A value as one word: quoted and escaped where it is not a plain one. Names of interfaces and cgroups
/// are given by whoever makes them.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ']' | '[');
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("\"{}\"", text.escape_debug()),
    }
}

/// A meaning as the end of a sentence: without its capital and its full stop.
pub(super) fn decapitalized(sentence: &str) -> String {
    let sentence = sentence.strip_suffix('.').unwrap_or(sentence);
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use guard_common::verdict::Reason;

    use super::super::tests::dropped;
    use super::*;

    #[test]
    fn a_drop_reads_as_a_sentence_with_its_rule() {
        assert_eq!(
            dropped().to_text(),
            "2026-11-23T12:00:01.500Z dropped tcp 192.0.2.10:143 to 198.51.100.7:40000 in US, pin mail, \
             by imap (4711), 1 packet of 60 bytes: a pin forbids the destination's jurisdiction and no exemption covers it \
             [kind=event id=2026-11-23T11:00:00Z/7 phase=new verdict=drop reason=forbidden severity=medium pins=mail jurisdiction=US placed_by=site \
             rule=/etc/borderguard/policy.toml:12 hook=egress interface=eth0 volumes=/srv/mail-ie pid=4711 command=imap uid=97 \
             user=dovecot unit=dovecot.service flow_packets=1 flow_bytes=60 generation=3 policy=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 community_id=1:sY8xnBAsvMxb5gMY9zEP53B9M4E=]"
        );
    }

    #[test]
    fn an_exempted_tunnel_and_its_names_are_told() {
        let event = Event {
            verdict: Verdict::Pass,
            reason: Reason::Exempt,
            pins: vec!["mail".into(), "all".into()],
            source: Some(Endpoint { ip: "2001:db8::1".parse().unwrap(), port: None }),
            destination: Some(Endpoint { ip: "2001:db8:1::1".parse().unwrap(), port: Some(1) }),
            tunnel: Some("203.0.113.9".parse().unwrap()),
            tunnel_source: Some("192.0.2.10".parse().unwrap()),
            interface: None,
            cgroup: Some("a b\u{1b}".into()),
            process: None,
            exemption: Some("mlat-1".into()),
            rule: None,
            community_id: None,
            packets: 3,
            protocol: 250,
            ..dropped()
        };
        assert_eq!(
            event.to_text(),
            "2026-11-23T12:00:01.500Z passed 250 2001:db8::1 to [2001:db8:1::1]:1 in US, in a tunnel from 192.0.2.10 to \
             203.0.113.9, pins mail and all, by exemption mlat-1, 3 packets of 60 bytes: an exemption covers \
             every pin that forbids the destination [kind=event id=2026-11-23T11:00:00Z/7 phase=new verdict=pass reason=exempt severity=informational pins=mail,all \
             jurisdiction=US placed_by=site hook=egress interface_index=2 volumes=/srv/mail-ie cgroup=\"a b\\u{1b}\" \
             exemption=mlat-1 flow_packets=1 flow_bytes=60 generation=3 \
             policy=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08]"
        );
    }

    #[test]
    fn a_frame_without_addresses_is_told_as_such() {
        let event = Event { source: None, destination: None, pins: vec![], ..dropped() };
        let line = event.to_text();
        assert!(
            line.contains("tcp from and to addresses that can't be read in US, pins mail and all"),
            "{line}"
        );
    }
}
