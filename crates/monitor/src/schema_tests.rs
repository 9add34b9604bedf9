//! Compares the schema with [`posthaste_mail::Event`].

use std::collections::BTreeSet;

use posthaste_mail::{Action, Class, LocalCause, Stage};
use serde_json::{Value, json};

use crate::{SCHEMA, encode, samples};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn line(event: &posthaste_mail::Event) -> Value {
    let mut line = Vec::new();
    encode(event, &mut line);
    serde_json::from_slice(&line).unwrap()
}

/// The properties of a definition and the required ones among them, with references followed.
fn fields(schema: &Value, at: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let keys = |v: &Value| v.as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect::<BTreeSet<_>>();
    let mut has = keys(&at["properties"]);
    let mut must: BTreeSet<_> = at["required"].as_array().into_iter().flatten().map(|f| f.as_str().unwrap().to_owned()).collect();
    for part in at["allOf"].as_array().into_iter().flatten() {
        let (more, needed) = fields(schema, schema.pointer(&part["$ref"].as_str().unwrap()[1..]).unwrap());
        has.extend(more);
        must.extend(needed);
    }
    (has, must)
}

#[test]
fn every_event_is_valid_with_all_fields_and_with_few() {
    let schema = jsonschema::options().should_validate_formats(true).build(&schema()).unwrap();
    for event in samples::each(true).iter().chain(&samples::each(false)) {
        let line = line(event);
        let errors: Vec<_> = schema.iter_errors(&line).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{line:#}: {errors:?}");
    }
}

#[test]
fn slips_are_found() {
    let schema = jsonschema::options().should_validate_formats(true).build(&schema()).unwrap();
    let good = line(&samples::each(true)[4]);
    assert!(schema.is_valid(&good));
    let slips = [
        ("smtp_codes", json!(421)),
        ("smtp_code", json!("421")),
        ("time", json!("2026-08-24T10:11:12Z")),
        ("message", json!("01k3")),
        ("class", json!("ratelimited")),
        ("retry_at", Value::Null),
        ("event", json!("defered")),
        ("source_ip", json!("here")),
        ("ambiguous", json!(false)),
    ];
    for (field, value) in slips {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(!schema.is_valid(&bad), "{field}: {bad}");
    }
    for missing in ["time", "node", "rcpt", "retry_at", "attempt", "smtp_text"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(missing);
        assert!(!schema.is_valid(&bad), "without {missing}");
    }
}

#[test]
fn the_schema_has_just_the_fields_that_events_have() {
    let schema = schema();
    let (common, common_must) = fields(&schema, &schema);
    for (full, least) in samples::each(true).iter().zip(&samples::each(false)) {
        let keys = |event| line(event).as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let (own, own_must) = fields(&schema, &schema["$defs"][full.what.name()]);
        let has: BTreeSet<_> = common.union(&own).cloned().collect();
        let must: BTreeSet<_> = common_must.union(&own_must).cloned().collect();
        assert_eq!(keys(full), has, "{}: all fields", full.what.name());
        assert_eq!(keys(least), must, "{}: required fields", full.what.name());
    }
}

#[test]
fn the_schema_knows_every_word_and_event() {
    let schema = schema();
    let words = |at: &str| {
        let list = schema.pointer(at).unwrap().as_array().unwrap().iter();
        list.map(|w| w.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let attempt = |field: &str| words(&format!("/$defs/attempt/properties/{field}/enum"));
    assert_eq!(attempt("class"), Class::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>());
    assert_eq!(attempt("action"), Action::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>());
    assert_eq!(attempt("smtp_stage"), Stage::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>());
    assert_eq!(attempt("cause"), LocalCause::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>());
    let events: Vec<_> = samples::each(true).iter().map(|e| e.what.name()).collect();
    assert_eq!(words("/properties/event/enum"), events);
}

#[test]
fn every_field_is_explained() {
    fn look(at: &Value, path: &str) {
        for (name, field) in at["properties"].as_object().into_iter().flatten() {
            // `event` in a definition only names the kind.
            let fixed = name == "event" && field.get("const").is_some();
            assert!(fixed || field["description"].as_str().is_some_and(|d| !d.is_empty()), "{path}: {name}");
        }
    }
    let schema = schema();
    look(&schema, "root");
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(definition["description"].is_string(), "{name}");
        look(definition, name);
    }
}
