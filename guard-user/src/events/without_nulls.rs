//! What is not known is left out where a schema has no null.

use serde_json::Value;

/// The value without keys that are null, or objects that have no key then.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(keys) => {
            let kept = keys.into_iter().map(|(key, value)| (key, without_nulls(value)));
            Value::Object(kept.filter(|(_, value)| !is_nothing(value)).collect())
        }
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}
