//! The JSON Schema of a document, made from the table of keys and the tables of the law.
//!
//! Editors use it on the TOML file as it is written; docs/exemption.schema.json is what this module makes.
//! It accepts every document that [`parse`](super::parse()) accepts. What a schema can't say
//! (clocks, overlaps, adequacy decisions) it lets pass, and the check refuses.

use serde_json::{Map, Value, json};

use super::ground::{Basis, Ground, Role};
use super::instrument::InstrumentKind;
use super::keys::{DOCUMENT, REQUIRED_SECTIONS};
use super::limits::MAX_SIGNERS;
use super::particulars::{Certificate, DutyKind, Law, Module};
use crate::config::schema::{Key, Kind, Need, Shape};

const NAME: &str = "^[a-z0-9._-]{1,63}$";
const MOMENT: &str = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})$";
const DAY: &str = r"^\d{4}-\d{2}-\d{2}$";
const PORTS: &str = "^(tcp|udp|sctp|udplite|dccp)/[0-9]{1,5}(-[0-9]{1,5})?$";
const CIDR: &str = "^[0-9a-fA-F:.]+/[0-9]{1,3}$";
const DIGEST: &str = "^[0-9a-fA-F]{64}$";
const IDENTITY: &str = "^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+$";

/// The schema, by JSON Schema draft 2020-12. Dates and times are the text that they are in TOML.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = section("");
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".into(), json!("Exemption of Border Guard"));
        object.insert("allOf".into(), Value::Array(rules()));
    }
    schema
}

/// The words that a key takes, where it takes no others.
pub(crate) fn choices(section: &str, name: &str) -> Option<Vec<&'static str>> {
    match (section, name) {
        // One that carries no ground is refused whatever else the document says.
        ("instrument", "type") => Some(carrying().map(InstrumentKind::name).collect()),
        ("instrument", "ground") => Some(Ground::ALL.iter().map(|ground| ground.name()).collect()),
        ("instrument", "basis") => Some(Basis::ALL.iter().map(|basis| basis.name()).collect()),
        ("onward", "ground") => Some(Ground::ALL.iter().map(|ground| ground.name()).collect()),
        ("", "law") => Some(Law::ALL.iter().map(|it| it.name()).collect()),
        ("instrument", "module") => Some(Module::ALL.iter().map(|it| it.name()).collect()),
        ("instrument", "certificate") => Some(Certificate::ALL.iter().map(|it| it.name()).collect()),
        ("duty", "what") => Some(DutyKind::ALL.iter().map(|it| it.name()).collect()),
        ("exporter", "role") => Some(Role::ALL.iter().map(|role| role.name()).collect()),
        _ => None,
    }
}

fn carrying() -> impl Iterator<Item = InstrumentKind> {
    InstrumentKind::ALL.into_iter().filter(|kind| !kind.grounds().is_empty())
}

/// The object of a section, with the sections that stand in it.
fn section(path: &'static str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in DOCUMENT.keys.iter().filter(|key| key.section == path) {
        properties.insert(key.name.into(), property(key));
        if key.need == Need::Required {
            required.push(key.name);
        }
    }
    for inner in DOCUMENT.sections.iter().filter(|inner| !inner.path.is_empty() && parent(inner.path) == path)
    {
        let name = inner.path.rsplit('.').next().unwrap_or(inner.path);
        let table = section(inner.path);
        let value = match inner.shape {
            Shape::Entries => {
                // No recipient at all is refused; a list that may be left out may also be empty.
                let least = usize::from(REQUIRED_SECTIONS.contains(&inner.path));
                json!({ "type": "array", "minItems": least, "items": table })
            }
            _ => table,
        };
        properties.insert(name.into(), value);
        if REQUIRED_SECTIONS.contains(&inner.path) {
            required.push(name);
        }
    }
    let meaning = DOCUMENT.sections.iter().find(|it| it.path == path).map_or("", |it| it.meaning);
    json!({
        "type": "object",
        "description": meaning,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn property(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Text => text(key),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer => {
            let most = match key.name {
                "count" => json!(MAX_SIGNERS),
                "quota_bytes" => json!(i64::MAX),
                _ => json!(u32::MAX),
            };
            json!({ "type": "integer", "minimum": 1, "maximum": most })
        }
        Kind::Time => json!({ "type": "string", "pattern": MOMENT }),
        Kind::Date => json!({ "type": "string", "anyOf": [{ "pattern": DAY }, { "pattern": MOMENT }] }),
        Kind::List => json!({ "type": "array", "minItems": 1, "items": text(key) }),
        Kind::ListOrNone => json!({ "type": "array", "items": text(key) }),
        Kind::NamesOrNumbers => {
            json!({ "type": "array", "minItems": 1, "items": { "type": ["string", "integer"] } })
        }
    };
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".into(), json!(key.meaning));
        object.extend(value(key.example).map(|example| ("examples".to_owned(), json!([example]))));
        if let Need::Default(default) = key.need {
            object.extend(value(default).map(|default| ("default".to_owned(), default)));
        }
    }
    schema
}

/// A string of the key, or each of its list.
fn text(key: &Key) -> Value {
    let pattern = match (key.section, key.name) {
        ("", "id" | "pins") | ("approval.required", "role") | ("instrument", "agreement_id") => NAME,
        ("instrument", "document_sha256") => DIGEST,
        ("approval", "submitter") => IDENTITY,
        ("recipient" | "processor" | "onward", "jurisdiction") => "^[A-Z]{2}$",
        ("recipient", "cidrs") => CIDR,
        ("recipient", "ports") => PORTS,
        (section, name) => {
            return match choices(section, name) {
                Some(choices) => json!({ "type": "string", "enum": choices }),
                // Bytes in the check; no text of so many bytes has more characters.
                None => json!({ "type": "string", "minLength": 1, "maxLength": 200 }),
            };
        }
    };
    json!({ "type": "string", "pattern": pattern })
}

/// A value as it stands in TOML; `None` where it is none, which a test sees.
fn value(written: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {written}")).ok()?;
    table.get("value").map(to_json)
}

/// A TOML value as the schema sees it.
#[must_use]
pub fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(boolean) => json!(boolean),
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(items) => items.iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

/// The rules of law that hold between keys.
fn rules() -> Vec<Value> {
    let names = |grounds: &[Ground]| grounds.iter().map(|ground| ground.name()).collect::<Vec<_>>();
    let of_type = |kinds: Vec<&str>| within("type", json!({ "enum": kinds }));
    let mut rules: Vec<Value> = carrying()
        .map(|kind| {
            let grounds = within("ground", json!({ "enum": names(kind.grounds()) }));
            json!({ "if": of_type(vec![kind.name()]), "then": grounds })
        })
        .collect();
    rules.push(json!({
        "if": of_type(vec![InstrumentKind::TreatyRequest.name()]),
        "then": { "properties": { "instrument": { "required": ["agreement"] } } },
    }));
    let assessed = carrying().filter(|kind| kind.needs_assessment()).map(InstrumentKind::name);
    rules.push(json!({
        "if": of_type(assessed.collect()),
        "then": {
            "required": ["assessment"],
            "properties": { "assessment": { "required": ["review_by"] } },
        },
    }));
    let safeguards: Vec<Ground> = Ground::ALL.into_iter().filter(|ground| ground.is_safeguard()).collect();
    rules.push(json!({
        "if": within("ground", json!({ "enum": names(&safeguards) })),
        "then": {
            "required": ["assessment"],
            "properties": { "assessment": { "required": ["review_by"] } },
        },
    }));
    rules.push(json!({
        "if": within("type", json!({ "enum": [InstrumentKind::DirectRequest.name()] })),
        "then": { "properties": { "instrument": { "required": ["agreement_id"] } } },
    }));
    let derogations: Vec<Ground> = Ground::ALL.into_iter().filter(|ground| ground.is_derogation()).collect();
    rules.push(json!({
        "if": within("ground", json!({ "enum": names(&derogations) })),
        "then": { "required": ["quota_bytes", "assessment"] },
    }));
    let named = carrying().filter(|&kind| kind != InstrumentKind::AdequacyDecision).map(InstrumentKind::name);
    rules.push(json!({
        "if": of_type(named.collect()),
        "then": { "properties": { "recipient": { "items": { "required": ["cidrs"] } } } },
    }));
    rules
}

/// A document whose instrument has this for a key. The key has to be there: a missing one has its own
/// error.
fn within(key: &str, schema: Value) -> Value {
    json!({
        "properties": { "instrument": { "properties": { key: schema }, "required": [key] } },
        "required": ["instrument"],
    })
}
