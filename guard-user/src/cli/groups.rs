//! `borderguard groups [NAME...]`: who is in a group, by which source, and as of which day. Asks no daemon.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::table::{plain, words, write, write_wrapped};
use super::{CliError, DEFAULT_CONFIG};
use crate::exit::Exit;
use crate::groups::{self, Decision, Group, Scope};
use crate::inputs;

/// Arguments of `groups`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Groups; without a name all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// A config, whose own groups are shown too [default: /etc/borderguard/policy.toml where it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Writes them.
///
/// # Errors
/// Where a name is no group's, the config can't be used, or `out` can't be written.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit> {
    let of_config = match &args.config {
        Some(config) => inputs::load_config(config, false)?.policy.groups,
        None if PathBuf::from(DEFAULT_CONFIG).exists() => {
            inputs::load_config(&PathBuf::from(DEFAULT_CONFIG), false)
                .map(|it| it.policy.groups)
                .unwrap_or_default()
        }
        None => Vec::new(),
    };
    let is_asked = |name: &str| args.names.is_empty() || args.names.iter().any(|asked| asked == name);
    let known =
        || groups::all().map(|group| group.name).chain(of_config.iter().map(|(name, _)| name.as_str()));
    if let Some(unknown) = args.names.iter().find(|asked| known().all(|name| name != *asked)) {
        let known = known().collect::<Vec<_>>().join(", ");
        return Err(CliError::bad_input(format!("there is no group {unknown:?}; there are {known}")).into());
    }
    let builtin: Vec<&Group> = groups::all().filter(|group| is_asked(group.name)).collect();
    let own: Vec<(&str, Vec<String>)> = of_config
        .iter()
        .filter(|(name, _)| is_asked(name))
        .map(|(name, members)| (name.as_str(), members.iter().map(|member| member.to_string()).collect()))
        .collect();
    if args.json {
        let groups: Vec<Value> = builtin.iter().map(builtin_json).chain(own.iter().map(own_json)).collect();
        writeln!(out, "{}", json!({ "groups": groups }))?;
        return Ok(Exit::Ok);
    }
    for group in builtin {
        writeln!(out, "{}, built in, as of {}", group.name, group.as_of)?;
        write_wrapped("  source: ", "  ", group.source, out)?;
        write_wrapped("  ", "  ", &group.members.join(" "), out)?;
        if group.name == groups::ADEQUACY_NAME {
            write_decisions(out)?;
        }
        writeln!(out)?;
    }
    for (name, members) in own {
        writeln!(out, "{}, of the config", plain(name))?;
        write_wrapped("  ", "  ", &members.join(" "), out)?;
        writeln!(out)?;
    }
    writeln!(out, "XK (Kosovo) is in no built-in group: name it beside one.")?;
    Ok(Exit::Ok)
}

/// By which decision each country is a member, and which decisions make none a member.
fn write_decisions(out: &mut impl Write) -> std::io::Result<()> {
    let rows: Vec<[String; 4]> = groups::DECISIONS
        .iter()
        .map(|decision| {
            let member = match decision.scope {
                Scope::Whole => "member".to_owned(),
                Scope::Part(whom) => format!("no member: it covers only {whom}"),
            };
            [decision.country.to_owned(), decision.act.to_owned(), decision.adopted.to_owned(), member]
        })
        .collect();
    write(out, [words("country"), words("decision"), words("adopted"), words("what follows")], &rows)
}

fn builtin_json(group: &&Group) -> Value {
    let decisions: Vec<Value> = match group.name == groups::ADEQUACY_NAME {
        true => groups::DECISIONS.iter().map(decision_json).collect(),
        false => Vec::new(),
    };
    json!({
        "name": group.name,
        "builtin": true,
        "as_of": group.as_of,
        "source": group.source,
        "members": group.members,
        "decisions": decisions,
    })
}

fn decision_json(decision: &Decision) -> Value {
    let covers_only = if let Scope::Part(whom) = decision.scope { Some(whom) } else { None };
    json!({
        "country": decision.country,
        "act": decision.act,
        "adopted": decision.adopted,
        "member": covers_only.is_none(),
        "covers_only": covers_only,
    })
}

fn own_json((name, members): &(&str, Vec<String>)) -> Value {
    json!({ "name": name, "builtin": false, "as_of": null, "source": null, "members": members, "decisions": [] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[&str], config: &str, json: bool) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.toml");
        let text = format!(
            "approval = \"none\"\n[host]\ninterfaces = [\"eth0\"]\n{config}[[pin]]\nname = \"mail\"\nhome = \"IE\"\naction = \"drop\"\n\
             select.ports = [\"tcp/143\"]\n"
        );
        std::fs::write(&file, text).unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        run(&Args { names, config: Some(file), json }, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn members_are_shown_with_source_and_date() {
        let all = shown(&[], "[groups]\nnordic = [\"SE\", \"FI\"]\n", false).unwrap();
        assert!(all.contains(&format!("EU, built in, as of {}\n", groups::MEMBERSHIP_AS_OF)), "{all}");
        assert!(all.contains("nordic, of the config\n  FI SE\n"), "{all}");
        assert!(all.contains("  AD       2010/625/EU"), "{all}");
        assert!(all.contains("no member: it covers only"), "{all}");
        assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
        let one = shown(&["nordic"], "[groups]\nnordic = [\"EEA\"]\n", false).unwrap();
        assert!(one.starts_with("nordic, of the config\n  AT AX BE"), "{one}");
        let error = shown(&["nordics"], "[groups]\nnordic = [\"SE\"]\n", false).unwrap_err();
        assert_eq!(error.to_string(), "there is no group \"nordics\"; there are EU, EEA, adequacy, nordic");
    }

    #[test]
    fn json_has_every_decision_and_whom_it_covers() {
        let object: Value = serde_json::from_str(&shown(&[], "", true).unwrap()).unwrap();
        let found = object["groups"].as_array().unwrap();
        assert_eq!(found.len(), 3);
        let adequacy = &found[2];
        let members = adequacy["members"].as_array().unwrap();
        for decision in adequacy["decisions"].as_array().unwrap() {
            assert_eq!(
                members.contains(&decision["country"]),
                decision["member"].as_bool().unwrap(),
                "{decision}"
            );
            assert_eq!(
                decision["covers_only"].is_null(),
                decision["member"].as_bool().unwrap(),
                "{decision}"
            );
        }
        assert!(adequacy["source"].as_str().unwrap().contains("Art. 45"));
    }
}
