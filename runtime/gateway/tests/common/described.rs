//! What the OpenAPI document says, held against the document itself and against what the server takes and answers.
//!
//! It knows the keywords of JSON Schema that the document uses and panics at another, so that none is passed over. An answer may
//! hold no field that is not described, though JSON Schema would let it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::OnceLock;

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};
use tally_gateway::{UnixMs, openapi};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(openapi)
}

/// One request and what came of it.
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a Method,
    /// With its query.
    pub(crate) path: &'a str,
    /// The body, where it is JSON.
    pub(crate) sent: Option<&'a Value>,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) answer: &'a [u8],
}

/// Panics where an operation took or answered something that is not described. What is no operation is passed over.
pub(crate) fn check(exchange: &Exchange<'_>) {
    let Exchange {
        method,
        path,
        status,
        ..
    } = exchange;
    let (path, query) = path.split_once('?').unwrap_or((*path, ""));
    let Some(operation) = operation(method, path) else {
        return;
    };
    let here = format!("{method} {path} {status}");
    let response = match operation["responses"].get(status.as_str()) {
        Some(response) => response,
        None if !status.is_success() => &operation["responses"]["default"],
        None => panic!("{here}: no such answer is described"),
    };
    let answer = serde_json::from_slice(exchange.answer)
        .unwrap_or_else(|_| panic!("{here}: the answer is no JSON"));
    let schema = &response["content"]["application/json"]["schema"];
    if let Err(fault) = fits(
        document(),
        schema,
        &answer,
        Strictness::NothingElse,
        "answer",
    ) {
        panic!("{here}: {fault} in {answer:#}");
    }
    if !status.is_success() {
        return;
    }
    for name in object(&response["headers"]).keys() {
        assert!(
            exchange.headers.contains_key(name.as_str()),
            "{here}: no header {name}"
        );
    }
    // What was taken is described too.
    if let Some(sent) = exchange.sent {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if let Err(fault) = fits(document(), schema, sent, Strictness::AsWritten, "request") {
            panic!("{here}: {fault} in {sent:#}");
        }
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        assert!(
            list(&operation["parameters"])
                .iter()
                .any(|it| it["in"] == "query" && it["name"] == name),
            "{here}: {name} is no parameter"
        );
    }
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let is_at = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template
                .split('/')
                .zip(path.split('/'))
                .all(|(wanted, part)| wanted == part || wanted.starts_with('{'))
    };
    let (_, operations) = object(&document()["paths"])
        .iter()
        .filter(|(template, _)| is_at(template))
        .min_by_key(|(template, _)| template.matches('{').count())?;
    operations.get(method.as_str().to_ascii_lowercase())
}

/// Whether fields that a schema does not name may be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// As the schema says.
    AsWritten,
    /// No, unless the schema says what they are.
    NothingElse,
}

/// Whether a value is as a schema of the document says; otherwise where it is not.
pub(crate) fn fits(
    document: &Value,
    schema: &Value,
    value: &Value,
    strictness: Strictness,
    place: &str,
) -> Result<(), String> {
    let Some(schema) = schema.as_object() else {
        return match schema {
            Value::Bool(true) => Ok(()),
            Value::Bool(false) => Err(format!("{place} should not be there")),
            _ => Err(format!("{place} is not described")),
        };
    };
    let fits = |schema: &Value, value: &Value, place: &str| {
        fits(document, schema, value, strictness, place)
    };
    let nothing = Map::new();
    let fields = value.as_object().unwrap_or(&nothing);
    let named = schema.get("properties").map(object);
    let unnamed = || {
        fields
            .iter()
            .filter(move |(name, _)| !named.is_some_and(|named| named.contains_key(*name)))
    };
    for (keyword, wanted) in schema {
        let count = |schemas: &Value| {
            list(schemas)
                .iter()
                .filter(|schema| fits(schema, value, place).is_ok())
                .count()
        };
        let is_so = match keyword.as_str() {
            "$ref" => {
                fits(resolved(document, wanted)?, value, place)?;
                true
            }
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|it| is_of_type(value, it)),
                one => is_of_type(value, one),
            },
            "const" => value == wanted,
            "enum" => list(wanted).contains(value),
            "anyOf" => count(wanted) > 0,
            "oneOf" => count(wanted) == 1,
            "properties" => {
                for (name, schema) in object(wanted) {
                    if let Some(value) = fields.get(name) {
                        fits(schema, value, &format!("{place}.{name}"))?;
                    }
                }
                true
            }
            "required" => {
                let missing = list(wanted)
                    .iter()
                    .filter_map(Value::as_str)
                    .find(|name| value.is_object() && !fields.contains_key(*name));
                if let Some(name) = missing {
                    return Err(format!("{place}.{name} is missing"));
                }
                true
            }
            "additionalProperties" => {
                for (name, value) in unnamed() {
                    fits(wanted, value, &format!("{place}.{name}"))?;
                }
                true
            }
            "items" => {
                for (index, value) in list(value).iter().enumerate() {
                    fits(wanted, value, &format!("{place}[{index}]"))?;
                }
                true
            }
            "minimum" => number(value).is_none_or(|it| Some(it) >= number(wanted)),
            "maximum" => number(value).is_none_or(|it| Some(it) <= number(wanted)),
            "format" => has_format(value, wanted.as_str().unwrap_or_default()),
            "description" | "title" | "default" => true,
            other => panic!("{place}: {other:?} is a keyword that is not checked here"),
        };
        if !is_so {
            return Err(format!("{place} is not as {keyword:?} says: {wanted}"));
        }
    }
    let is_open =
        strictness == Strictness::AsWritten || schema.contains_key("additionalProperties");
    if named.is_some()
        && !is_open
        && let Some((name, _)) = unnamed().next()
    {
        return Err(format!("{place}.{name} is not described"));
    }
    Ok(())
}

fn is_of_type(value: &Value, wanted: &Value) -> bool {
    match wanted.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type is called {other:?}"),
    }
}

/// A format says something of the one type that it is of.
fn has_format(value: &Value, wanted: &str) -> bool {
    match wanted {
        "uint" | "uint32" | "uint64" => !value.is_number() || value.is_u64(),
        "double" | "binary" => true,
        "date-time" => value
            .as_str()
            .is_none_or(|text| text.parse::<UnixMs>().is_ok()),
        other => panic!("{other:?} is a format that is not checked here"),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn object(value: &Value) -> &Map<String, Value> {
    static NOTHING: OnceLock<Map<String, Value>> = OnceLock::new();
    value
        .as_object()
        .unwrap_or_else(|| NOTHING.get_or_init(Map::new))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn resolved<'a>(document: &'a Value, reference: &Value) -> Result<&'a Value, String> {
    reference
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'))
        .and_then(|pointer| document.pointer(pointer))
        .ok_or_else(|| format!("{reference} refers to nothing"))
}

/// What is wrong with a document as OpenAPI 3.1: whether it has the objects of the specification, with their fields and of their
/// types, whether every reference refers to something and every component is referred to, and whether each operation says what it
/// takes and what it answers.
pub(crate) fn faults(document: &Value) -> Vec<String> {
    let mut survey = Survey {
        document,
        faults: Vec::new(),
    };
    survey.document();
    survey.faults
}

struct Survey<'a> {
    document: &'a Value,
    faults: Vec<String>,
}

impl Survey<'_> {
    fn need(&mut self, is_so: bool, fault: impl Into<String>) {
        if !is_so {
            self.faults.push(fault.into());
        }
    }

    fn fields(&mut self, place: &str, value: &Value, required: &[&str], optional: &[&str]) {
        self.need(value.is_object(), format!("{place} is no object"));
        for name in required {
            self.need(value.get(name).is_some(), format!("{place} has no {name}"));
        }
        for (name, field) in object(value) {
            let name = name.as_str();
            self.need(
                required.contains(&name) || optional.contains(&name),
                format!("{place} may not have {name}"),
            );
            if ["description", "summary", "title", "name", "in"].contains(&name) {
                self.need(
                    field.as_str().is_some_and(|text| !text.is_empty()),
                    format!("{place}.{name} is no text"),
                );
            }
        }
    }

    fn document(&mut self) {
        let document = self.document;
        self.fields(
            "the document",
            document,
            &["openapi", "info", "paths", "components"],
            &[],
        );
        let version = document["openapi"].as_str().unwrap_or_default();
        self.need(version.starts_with("3.1."), "it is not OpenAPI 3.1");
        self.fields(
            "info",
            &document["info"],
            &["title", "version"],
            &["description"],
        );
        self.components();
        let mut ids = Vec::new();
        for (path, operations) in object(&document["paths"]) {
            self.need(
                path.starts_with('/'),
                format!("{path} begins with no slash"),
            );
            for (method, operation) in object(operations) {
                let place = format!("{method} {path}");
                self.need(
                    METHODS.contains(&method.as_str()),
                    format!("{place} is no method"),
                );
                self.operation(&place, path, method, operation);
                ids.push(operation["operationId"].to_string());
            }
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        self.need(
            count > 0 && ids.len() == count,
            "operation ids are not unique",
        );
    }

    fn components(&mut self) {
        let document = self.document;
        let components = &document["components"];
        let kinds = ["schemas", "headers", "securitySchemes"];
        self.fields("components", components, &kinds, &[]);
        let text = document.to_string();
        for kind in ["schemas", "headers"] {
            for name in object(&components[kind]).keys() {
                self.need(
                    name.chars()
                        .all(|it| it.is_ascii_alphanumeric() || "._-".contains(it)),
                    format!("{name:?} is no name of a component"),
                );
                self.need(
                    text.contains(&format!("\"#/components/{kind}/{name}\"")),
                    format!("nothing refers to {name}"),
                );
            }
        }
        for (name, schema) in object(&components["schemas"]) {
            self.schema(name, schema);
        }
        for (name, header) in object(&components["headers"]) {
            self.fields(name, header, &["schema"], &["description"]);
            self.schema(name, &header["schema"]);
        }
        for (name, scheme) in object(&components["securitySchemes"]) {
            match scheme["type"].as_str() {
                Some("apiKey") => self.fields(name, scheme, &["type", "in", "name"], &[]),
                Some("http") => self.fields(name, scheme, &["type", "scheme"], &[]),
                _ => self.need(false, format!("{name} is no security scheme")),
            }
        }
    }

    fn operation(&mut self, place: &str, path: &str, method: &str, operation: &Value) {
        let document = self.document;
        self.fields(
            place,
            operation,
            &["operationId", "summary", "responses", "security"],
            &["description", "parameters", "requestBody"],
        );
        let schemes = &document["components"]["securitySchemes"];
        for name in list(&operation["security"])
            .iter()
            .flat_map(|it| object(it).keys())
        {
            self.need(
                schemes.get(name).is_some(),
                format!("{place}: no scheme {name}"),
            );
        }
        self.parameters(place, path, &operation["parameters"]);
        if let Some(body) = operation.get("requestBody") {
            self.need(
                !["get", "delete"].contains(&method),
                format!("{place} has a body"),
            );
            self.fields(place, body, &["content", "required"], &["description"]);
            self.content(place, &body["content"]);
        }
        let responses = object(&operation["responses"]);
        self.need(
            responses.keys().any(|status| status.starts_with('2'))
                && responses.contains_key("default"),
            format!("{place} does not say what it answers, and what it answers otherwise"),
        );
        for (status, response) in responses {
            let place = format!("{place} {status}");
            let is_status = status.len() == 3 && status.parse::<u16>().is_ok();
            self.need(
                is_status || status == "default",
                format!("{place} is no status"),
            );
            self.fields(&place, response, &["description", "content"], &["headers"]);
            self.content(&place, &response["content"]);
            for (name, header) in object(&response["headers"]) {
                self.fields(name, header, &["$ref"], &[]);
                let refers = resolved(document, &header["$ref"]);
                self.need(refers.is_ok(), format!("{place}: {name} refers to nothing"));
            }
        }
    }

    fn parameters(&mut self, place: &str, path: &str, parameters: &Value) {
        let mut in_path = Vec::new();
        let mut names = Vec::new();
        for parameter in list(parameters) {
            let name = parameter["name"].as_str().unwrap_or_default();
            let place = format!("{place} {name}");
            let fields = ["name", "in", "required", "schema"];
            self.fields(&place, parameter, &fields, &["description"]);
            self.schema(&place, &parameter["schema"]);
            self.need(!names.contains(&name), format!("{place} is there twice"));
            names.push(name);
            match parameter["in"].as_str() {
                Some("path") => {
                    self.need(
                        parameter["required"] == true,
                        format!("{place} may be missing"),
                    );
                    in_path.push(name);
                }
                Some("query") => {}
                _ => self.need(false, format!("{place} is nowhere")),
            }
        }
        let wanted: Vec<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        self.need(
            in_path == wanted,
            format!("{place}: not the parameters of its path"),
        );
    }

    fn content(&mut self, place: &str, content: &Value) {
        self.need(
            !object(content).is_empty(),
            format!("{place} has no content"),
        );
        for (media_type, content) in object(content) {
            let place = format!("{place} {media_type}");
            self.need(
                media_type.contains('/'),
                format!("{place} is no media type"),
            );
            self.fields(&place, content, &["schema"], &[]);
            let schema = &content["schema"];
            let says = ["$ref", "type", "anyOf", "oneOf"];
            self.need(
                says.iter().any(|it| schema.get(it).is_some()),
                format!("{place}: its schema says nothing"),
            );
            self.schema(&place, schema);
        }
    }

    fn schema(&mut self, place: &str, schema: &Value) {
        let Some(keywords) = schema.as_object() else {
            return self.need(schema.is_boolean(), format!("{place} is no schema"));
        };
        for (keyword, value) in keywords {
            let is_sound = match keyword.as_str() {
                "$ref" => resolved(self.document, value).is_ok(),
                "type" => {
                    let types = match value {
                        Value::Array(types) => types.as_slice(),
                        one => std::slice::from_ref(one),
                    };
                    let known = [
                        "null", "boolean", "string", "array", "object", "number", "integer",
                    ];
                    !types.is_empty()
                        && types
                            .iter()
                            .all(|it| it.as_str().is_some_and(|it| known.contains(&it)))
                }
                "properties" => {
                    for (name, schema) in object(value) {
                        self.schema(&format!("{place}.{name}"), schema);
                    }
                    value.is_object()
                }
                "required" => list(value).iter().all(|name| {
                    name.as_str()
                        .is_some_and(|name| schema["properties"].get(name).is_some())
                }),
                "items" | "additionalProperties" => {
                    self.schema(&format!("{place}[]"), value);
                    true
                }
                "anyOf" | "oneOf" => {
                    for (index, schema) in list(value).iter().enumerate() {
                        self.schema(&format!("{place}/{index}"), schema);
                    }
                    !list(value).is_empty()
                }
                "enum" => !list(value).is_empty(),
                "minimum" | "maximum" => value.is_number(),
                "format" | "description" | "title" => value.is_string(),
                "const" | "default" => true,
                _ => false,
            };
            self.need(
                is_sound,
                format!("{place}: {keyword} is not sound: {value}"),
            );
        }
    }
}
