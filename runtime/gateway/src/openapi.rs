//! The description of the REST face, made from the table of routes that also makes the router: what is described is what is
//! answered, and the other way round.

use axum::http::Method;
use axum::routing::MethodRouter;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;
use crate::gateway::Gateway;
use crate::keys::Scope;
use crate::rest;

/// One operation.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    /// What a key must be allowed; `None` for what everybody may see.
    pub(crate) scope: Option<Scope>,
    /// The query string's fields.
    pub(crate) query: Option<SchemaOf>,
    pub(crate) body: Body,
    pub(crate) status: u16,
    pub(crate) answer: SchemaOf,
    pub(crate) handler: MethodRouter<Gateway>,
}

pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a request carries.
pub(crate) enum Body {
    Nothing,
    Json(SchemaOf),
    /// A file, with the fields of a form beside it.
    File(&'static [(&'static str, &'static str)]),
}

/// The OpenAPI 3.1 document of the REST face.
pub fn openapi() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let error = schemas.subschema_for::<ErrorBody>();
    let mut paths = Map::new();
    for route in rest::routes() {
        let mut operation = json!({
            "operationId": route.id,
            "summary": route.summary,
            "responses": {
                route.status.to_string(): {
                    "description": "Done",
                    "content": { "application/json": { "schema": (route.answer)(&mut schemas) } }
                },
                "default": {
                    "description": "Not done; the body says why and who must act",
                    "content": { "application/json": { "schema": error } }
                }
            }
        });
        if route.status == 204 {
            operation["responses"]["204"] = json!({ "description": "Done" });
        }
        match route.scope {
            Some(scope) => {
                operation["security"] = json!([{ "key": [] }, { "bearer": [] }]);
                operation["description"] = json!(format!("Needs a key with the scope `{scope}`."));
            }
            None => operation["security"] = json!([]),
        }
        let mut parameters = path_parameters(route.path);
        if let Some(query) = route.query {
            parameters.extend(query_parameters(&query(&mut schemas)));
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        match route.body {
            Body::Nothing => {}
            Body::Json(schema) => {
                operation["requestBody"] = json!({
                    "required": true,
                    "content": { "application/json": { "schema": schema(&mut schemas) } }
                });
            }
            Body::File(fields) => operation["requestBody"] = form(fields),
        }
        let path = paths
            .entry(route.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let schemas = schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tally: MemSync",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Long-term memory in an encrypted vault that its owner carries. Every memory names the words it rests on and the receipt of the inference that found it."
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "bearer": { "type": "http", "scheme": "bearer" }
            }
        }
    })
}

/// `{id}` in a path.
fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect()
}

/// The fields of an object's schema.
fn query_parameters(schema: &Schema) -> Vec<Value> {
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let fields = schema.get("properties").and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .map(|(name, field)| {
            let mut field = field.clone();
            let description = field
                .as_object_mut()
                .and_then(|field| field.remove("description"))
                .unwrap_or_default();
            json!({
                "name": name, "in": "query", "description": description,
                "required": required.contains(&Value::from(name.as_str())), "schema": field
            })
        })
        .collect()
}

fn form(fields: &[(&str, &str)]) -> Value {
    let mut properties = json!({ "file": { "type": "string", "format": "binary" } });
    for (name, meaning) in fields {
        properties[name] = json!({ "type": "string", "description": meaning });
    }
    json!({
        "required": true,
        "content": { "multipart/form-data": { "schema": {
            "type": "object", "required": ["file"], "properties": properties
        } } }
    })
}
