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
use crate::rate::Allowance;
use crate::rest;

/// One operation.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    /// What a key must be allowed; `None` for what everybody may see.
    pub(crate) scope: Option<Scope>,
    /// What it takes from beside the allowance of all requests.
    pub(crate) allowance: Allowance,
    /// The query string's fields.
    pub(crate) query: Option<SchemaOf>,
    pub(crate) body: Body,
    pub(crate) status: u16,
    pub(crate) answer: SchemaOf,
    /// What else it may answer when it is done.
    pub(crate) or: Option<(u16, SchemaOf)>,
    pub(crate) handler: MethodRouter<Gateway>,
}

pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Fields of a form beside its file, each with what it means.
type Fields = &'static [(&'static str, &'static str)];

/// What a request carries.
pub(crate) enum Body {
    Nothing,
    Json(SchemaOf),
    /// A file, with the fields of a form beside it.
    File(Fields),
    /// The same, or JSON.
    FileOrJson(Fields, SchemaOf),
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
                "default": {
                    "description": "Not done; the body says why and who must act",
                    "content": { "application/json": { "schema": error } }
                }
            }
        });
        for (status, answer) in [(route.status, route.answer)].into_iter().chain(route.or) {
            let mut done = json!({
                "description": if status == 207 { "Done in part: `failed` names what is not" } else { "Done" },
                "content": { "application/json": { "schema": answer(&mut schemas) } }
            });
            if route.scope.is_some() {
                done["headers"] = rate_headers();
            }
            operation["responses"][status.to_string()] = done;
        }
        match route.scope {
            Some(scope) => {
                operation["security"] = json!([{ "key": [] }, { "bearer": [] }]);
                let mut needs = format!("Needs a key with the scope `{scope}`.");
                match route.allowance {
                    Allowance::Ordinary => {}
                    Allowance::Searches => {
                        needs.push_str(" Half of a key's requests in a minute may be searches.");
                    }
                    Allowance::Imports => {
                        needs.push_str(
                            " A tenth of a key's requests in a minute may begin imports of files.",
                        );
                    }
                }
                operation["description"] = needs.into();
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
            Body::FileOrJson(fields, schema) => {
                operation["requestBody"] = form(fields);
                operation["requestBody"]["content"]["application/json"] =
                    json!({ "schema": schema(&mut schemas) });
            }
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
            "headers": {
                "RateLimit": {
                    "description": "Requests that the key has in a minute: of all, or of searches or imports where this was one and fewer of those are left",
                    "schema": { "type": "integer", "minimum": 1 }
                },
                "RateRemaining": {
                    "description": "How many of them are left: so many more requests like this one are let through now",
                    "schema": { "type": "integer", "minimum": 0 }
                },
                "RateReset": {
                    "description": "When all of them are there again, in seconds since 1970-01-01T00:00:00Z",
                    "schema": { "type": "integer" }
                }
            },
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "bearer": { "type": "http", "scheme": "bearer" }
            }
        }
    })
}

fn rate_headers() -> Value {
    json!({
        "X-RateLimit-Limit": { "$ref": "#/components/headers/RateLimit" },
        "X-RateLimit-Remaining": { "$ref": "#/components/headers/RateRemaining" },
        "X-RateLimit-Reset": { "$ref": "#/components/headers/RateReset" }
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
