//! Makes the document. `TAUTLINE_WRITE_OPENAPI=1 cargo test --features lab --lib openapi` writes it.

use std::fmt::Write;

use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::dialect::DIALECTS;
use crate::gateway::api;
use crate::gateway::http::{ENDPOINTS, Endpoint, Scope};
use crate::outbox::TransitionKind;

const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

/// Every name that `GET /v1/openapi.json` gives a schema, and where it comes from.
struct Schemas {
    given: SchemaGenerator,
    taken: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let generator = |contract: Contract| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
                settings.contract = contract;
            });
            settings.into_generator()
        };
        Self {
            given: generator(Contract::Serialize),
            taken: generator(Contract::Deserialize),
        }
    }

    fn of<T: JsonSchema>(&mut self) -> Value {
        self.given.subschema_for::<T>().to_value()
    }

    fn list<T: JsonSchema>(&mut self) -> Value {
        json!({ "type": "array", "items": self.of::<T>() })
    }

    fn body<T: JsonSchema>(&mut self) -> Value {
        self.taken.subschema_for::<T>().to_value()
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.given.take_definitions(true);
        all.extend(self.taken.take_definitions(true));
        all
    }
}

/// What a row of the table does not say.
#[derive(Default)]
struct Details {
    parameters: Vec<Value>,
    body: Option<Value>,
    /// The answer 200, by media type.
    content: Value,
    /// Answers beside 200 and the errors.
    beside: Vec<(&'static str, Value)>,
}

fn json_of(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn lines_of(schema: &Value) -> Value {
    let what = "One JSON value a line; empty lines are signs of life.";
    json!({ "application/x-ndjson": { "schema": { "type": "string", "description": what }, "x-line": schema } })
}

fn text(media: &str) -> Value {
    json!({ media: { "schema": { "type": "string" } } })
}

fn query(name: &str, schema: Value, description: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": schema, "description": description })
}

fn word() -> Value {
    json!({ "type": "string" })
}

fn duration(name: &str, description: &str) -> Value {
    query(
        name,
        json!({ "type": "string", "pattern": "^[0-9]{1,5}(ms|s|m|h)?$" }),
        description,
    )
}

fn limit() -> Value {
    query(
        "limit",
        json!({ "type": "integer", "minimum": 1, "maximum": 1000 }),
        "At most so many.",
    )
}

fn session() -> Value {
    query("session", name_of("session"), "Of this session.")
}

fn yes_or_no(name: &str, description: &str) -> Value {
    query(name, json!({ "enum": ["0", "1", "false", "true", ""] }), description)
}

/// A list with commas.
fn list(name: &str, items: Value, description: &str) -> Value {
    let schema = json!({ "type": "array", "items": items, "minItems": 1, "maxItems": 50 });
    json!({
        "name": name, "in": "query", "schema": schema, "description": description, "style": "form", "explode": false,
    })
}

fn name_of(what: &str) -> Value {
    let longest = if what == "route" { 64 } else { 32 };
    json!({ "type": "string", "pattern": format!("^[-_A-Za-z0-9]{{1,{longest}}}$") })
}

/// What stands open in a path.
fn path_parameter(name: &str) -> Value {
    let (schema, description) = match name {
        "route" => (name_of("route"), "A configured route."),
        "topics" => (
            json!({ "type": "string", "pattern": "^[-_A-Za-z0-9]{1,64}(,[-_A-Za-z0-9]{1,64}){0,49}$" }),
            "A configured route, or several with commas.",
        ),
        "id" => (
            json!({ "type": "string", "pattern": "^[A-Za-z0-9]{12}$" }),
            "An alert's id.",
        ),
        "sequence" => (word(), "An alert's id, or what its sender calls what it is about."),
        "session" => (name_of("session"), "A configured session."),
        "name" => (
            json!({ "type": "string", "pattern": "^[-_A-Za-z0-9]{1,32}$" }),
            "A token's name.",
        ),
        "file" => (
            json!({ "enum": ["page.css", "page.js", "tautline.js"] }),
            "A file of the page.",
        ),
        "dialect" => {
            let names: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
            (
                json!({ "type": "string", "examples": names }),
                "A form in which senders speak.",
            )
        }
        other => panic!("what is {{{other}}}?"),
    };
    let name = if name == "sequence" { "id" } else { name };
    json!({ "name": name, "in": "path", "required": true, "schema": schema, "description": description })
}

/// The parameters of ntfy's subscribe.
fn subscribed() -> Vec<Value> {
    vec![
        query(
            "poll",
            json!({ "enum": ["0", "1"] }),
            "Those that there were, and then the end; else it has none.",
        ),
        query(
            "since",
            word(),
            "From before as well: a time like 10m, Unix seconds, an alert's id, latest, all, none.",
        ),
        query("id", word(), "Only the alert of this id."),
        query("message", word(), "Only what has just this text."),
        query("title", word(), "Only what has just this title."),
        query(
            "priority",
            json!({ "type": "string", "pattern": "^[1-5](,[1-5]){0,4}$" }),
            "One of these, with commas.",
        ),
        query("tags", word(), "Each of these, with commas."),
    ]
}

/// What ntfy's form takes beside a text. Whatever cannot be read of it costs nothing but a warning.
fn ntfy() -> Vec<Value> {
    [
        ("title", "A line above the text."),
        ("priority", "1 to 5, or min to max."),
        ("tags", "Words, with commas."),
        ("click", "A link to open."),
        ("key", "The same key is the same alert: it is accepted once."),
        ("filename", "The body is a file of this name."),
        ("attach", "The address of a file."),
    ]
    .map(|(name, description)| query(name, word(), description))
    .to_vec()
}

/// A JSON object of which this much has to be there. What else it may have is the sender's dialect.
fn json_with(name: &str, schema: Value) -> Value {
    let object = json!({ "type": "object", "required": [name], "properties": { name: schema } });
    json!({ "required": true, "content": json_of(object) })
}

fn any_body(required: bool, media: &str) -> Option<Value> {
    Some(json!({ "required": required, "content": { media: { "schema": {} } } }))
}

fn details(endpoint: &Endpoint, method: &str, schemas: &mut Schemas) -> Details {
    let published = schemas.of::<api::Published>();
    // A bounce is answered like a mail.
    let taken = json!({ "anyOf": [published, schemas.of::<api::Mailed>()] });
    let gotify = schemas.of::<api::GotifyMessage>();
    let alert = json_of(schemas.of::<api::AlertView>());
    let with = |content: Value| Details {
        content,
        ..Details::default()
    };
    match (method, endpoint.path) {
        ("GET" | "HEAD", "/") => with(text("text/html")),
        (_, "/web/{file}") => with(json!({
            "text/css": { "schema": { "type": "string" } }, "text/javascript": { "schema": { "type": "string" } },
        })),
        (_, "/metrics") => with(text("application/openmetrics-text")),
        (_, "/v1/openapi.json") => with(json_of(json!({ "type": "object", "required": ["openapi", "paths"] }))),
        ("POST", "/v1/login") => Details {
            body: Some(json!({ "required": true, "content": json_of(schemas.body::<api::NewLogin>()) })),
            ..with(json_of(schemas.of::<api::LoginView>()))
        },
        (_, "/v1/login") => Details {
            parameters: vec![yes_or_no("all", "Every login of the same token.")],
            ..with(json_of(json!({
                "type": "object", "required": ["ended"], "properties": { "ended": { "type": "integer" } },
            })))
        },
        (_, "/v1/status") => with(json_of(schemas.of::<api::Status>())),
        (_, "/v1/account" | "/v1/config" | "/v1/stats" | "/version" | "/health" | "/api/sessions/{session}") => {
            with(json_of(json!({ "type": "object" })))
        }
        (_, "/api/sessions") => with(json_of(json!({ "type": "array", "items": { "type": "object" } }))),
        (_, "/1/users/validate.json") => Details {
            body: any_body(false, "*/*"),
            ..with(json_of(json!({ "type": "object" })))
        },
        (_, "/1/messages.json") => Details {
            body: any_body(true, "application/json"),
            ..with(json_of(schemas.of::<api::PushoverMessage>()))
        },
        (_, "/notify") => Details {
            parameters: vec![json!({
                "name": "X-Apprise-Config-ID", "in": "header", "schema": name_of("route"), "description": "The route.",
            })],
            body: any_body(true, "application/json"),
            ..with(json_of(taken))
        },
        (_, "/{route}/{id}") => with(json_of(schemas.of::<api::TopicEvent>())),
        (_, "/v1/health") => {
            let health = schemas.of::<api::Health>();
            let ill = json!({ "anyOf": [health, schemas.of::<api::ErrorBody>()] });
            let ill = json!({ "description": "What is wrong.", "content": json_of(ill) });
            Details {
                parameters: vec![yes_or_no("strict", "A finding of severity warning is a reason, too.")],
                beside: vec![("503", ill)],
                ..with(json_of(health))
            }
        }
        (_, "/v1/routes") => with(json_of(json!({ "type": "array", "items": name_of("route") }))),
        (_, "/v1/routes/{route}") => with(json_of(schemas.of::<api::RouteView>())),
        (_, "/v1/routes/{route}/test") => Details {
            parameters: vec![duration(
                "timeout",
                "Wait so long for WhatsApp, 10 minutes at the most; 30s without it.",
            )],
            ..with(json_of(schemas.of::<api::RouteTested>()))
        },
        (_, "/v1/lines") => Details {
            parameters: vec![limit(), session()],
            ..with(json_of(schemas.list::<api::HistoryEntry>()))
        },
        (_, "/v1/events") => {
            let mut kinds = vec![
                "alert",
                "session",
                "message",
                "recorded",
                "online",
                "offline",
                "needs-person",
                "paired",
            ];
            kinds.extend(TransitionKind::ALL.map(TransitionKind::name));
            let line = json!({ "anyOf": [schemas.of::<api::EventView>(), schemas.of::<api::StreamWord>()] });
            let upgraded = "By WebSocket, where that is asked for; docs/events.md.";
            let mut content = lines_of(&line);
            content["text/event-stream"] = json!({ "schema": { "type": "string" } });
            Details {
                parameters: vec![
                    query(
                        "since",
                        json!({ "type": "integer", "minimum": 0 }),
                        "Entries after this number.",
                    ),
                    limit(),
                    query("follow", json!({ "enum": ["1"] }), "And what comes, without an end."),
                    list("kind", json!({ "enum": kinds }), "Only these."),
                    list("session", name_of("session"), "Only what concerns one of these."),
                    list("route", name_of("route"), "Only what concerns one of these."),
                    list(
                        "alert",
                        json!({ "type": "string", "pattern": "^[A-Za-z0-9]{12}$" }),
                        "Only these.",
                    ),
                ],
                beside: vec![("101", json!({ "description": upgraded }))],
                ..with(content)
            }
        }
        (_, "/v1/alerts") => Details {
            parameters: vec![limit(), yes_or_no("pending", "Only those not yet sent.")],
            ..with(json_of(schemas.list::<api::AlertView>()))
        },
        ("GET" | "HEAD", "/v1/alerts/{id}") => Details {
            parameters: vec![
                query(
                    "wait",
                    json!({ "enum": ["sent", "delivered", "read"] }),
                    "Answer when it is so far, or given up.",
                ),
                duration(
                    "timeout",
                    "Answer after this time in any case, 10 minutes at the most; 30s without it.",
                ),
            ],
            ..with(alert)
        },
        (_, "/v1/alerts/{id}" | "/v1/alerts/{id}/retry" | "/v1/alerts/{id}/ack") => with(alert),
        (_, "/v1/chats") => Details {
            parameters: vec![session()],
            ..with(json_of(schemas.list::<api::Chat>()))
        },
        (_, "/v1/sessions/{session}/pair") => Details {
            parameters: vec![
                query(
                    "phone",
                    json!({ "type": "string", "pattern": "^[0-9]{7,15}$" }),
                    "Link by a code for this number, with the country's code; without it by QR code.",
                ),
                yes_or_no("draw", "QR codes come with their modules."),
            ],
            ..with(lines_of(&schemas.of::<api::PairLine>()))
        },
        (_, "/v1/backup") => with(json!({ "application/octet-stream": {} })),
        ("GET", "/v1/tokens") => with(json_of(schemas.list::<api::TokenView>())),
        ("POST", "/v1/tokens") => Details {
            body: Some(json!({ "required": true, "content": json_of(schemas.body::<api::NewToken>()) })),
            ..with(json_of(schemas.of::<api::IssuedToken>()))
        },
        (_, "/v1/tokens/{name}") => with(json_of(json!({
            "type": "object", "required": ["revoked"], "properties": { "revoked": { "type": "string" } },
        }))),
        ("POST" | "PUT", "/") => Details {
            body: Some(json_with("topic", name_of("route"))),
            ..with(json_of(published))
        },
        (_, "/message") => Details {
            body: any_body(true, "application/json"),
            ..with(json_of(gotify))
        },
        (_, "/api/sendText" | "/api/sendImage" | "/api/sendFile") => Details {
            body: Some(json_with("chatId", word())),
            ..with(json_of(published))
        },
        (_, "/v1/mail") => Details {
            parameters: vec![json!({
                "name": "to", "in": "query", "description": "A recipient, an address or a route; may be repeated.",
                "schema": { "type": "array", "items": { "type": "string" } }, "style": "form", "explode": true,
            })],
            body: any_body(true, "message/rfc822"),
            ..with(json_of(schemas.of::<api::Mailed>()))
        },
        (_, "/notify/{route}") => Details {
            body: any_body(true, "application/json"),
            ..with(json_of(taken))
        },
        (_, "/v1/hooks/{dialect}/{route}" | "/v1/hooks/{dialect}/{route}/message") => Details {
            body: (method != "GET").then(|| any_body(false, "*/*")).flatten(),
            ..with(json_of(
                json!({ "anyOf": [taken["anyOf"][0], taken["anyOf"][1], gotify] }),
            ))
        },
        (_, "/{route}") => Details {
            parameters: ntfy(),
            body: any_body(false, "*/*"),
            ..with(json_of(published))
        },
        (_, "/{route}/publish" | "/{route}/send" | "/{route}/trigger") => {
            let mut parameters = ntfy();
            parameters.push(query("message", word(), "The text."));
            Details {
                parameters,
                ..with(json_of(published))
            }
        }
        (_, "/{topics}/json") => Details {
            parameters: subscribed(),
            ..with(lines_of(&schemas.of::<api::TopicEvent>()))
        },
        (_, "/{topics}/sse") => Details {
            parameters: subscribed(),
            ..with(text("text/event-stream"))
        },
        (_, "/{topics}/raw") => Details {
            parameters: subscribed(),
            ..with(text("text/plain"))
        },
        (_, "/{topics}/ws") => Details {
            parameters: subscribed(),
            beside: vec![(
                "101",
                json!({ "description": "Each message is a line of `/{topics}/json`." }),
            )],
            ..Details::default()
        },
        (_, "/{topics}/auth") => with(json_of(json!({
            "type": "object", "required": ["success"], "properties": { "success": { "const": true } },
        }))),
        (method, path) => panic!("{method} {path} is to have a row here: what it takes and gives"),
    }
}

fn operation(endpoint: &Endpoint, method: &str, schemas: &mut Schemas) -> Value {
    let details = details(endpoint, method, schemas);
    let open = endpoint
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let of_path = |name| match (endpoint.path, name) {
        ("/{route}/{id}", "id") => path_parameter("sequence"),
        (_, name) => path_parameter(name),
    };
    let parameters: Vec<Value> = open.map(of_path).chain(details.parameters).collect();
    let mut responses = Map::new();
    if !details.content.is_null() {
        let mut done = json!({ "description": "It is done." });
        if method != "HEAD" {
            done["content"] = details.content;
        }
        responses.insert("200".into(), done);
    }
    for (status, mut answer) in details.beside {
        if method == "HEAD" {
            answer.as_object_mut().unwrap().remove("content");
        }
        responses.insert(status.into(), answer);
    }
    responses.insert("default".into(), json!({ "$ref": "#/components/responses/Error" }));
    let words = endpoint
        .path
        .split(['/', '{', '}', '.'])
        .filter(|word| !word.is_empty());
    let id = std::iter::once(method.to_ascii_lowercase()).chain(words.map(str::to_owned));
    let mut operation = json!({
        "operationId": id.collect::<Vec<_>>().join("-"),
        "summary": endpoint.summary,
        "tags": [endpoint.scope.name()],
        "responses": responses,
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = details.body {
        operation["requestBody"] = body;
    }
    operation
}

fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        for method in endpoint.methods {
            let operation = operation(endpoint, method, &mut schemas);
            let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
            path[method.to_ascii_lowercase()] = operation;
        }
    }
    let error = json_of(schemas.of::<api::ErrorBody>());
    let rights = [Scope::Nothing, Scope::Any].into_iter().chain(Scope::ALL).map(|scope| {
        let what = match scope {
            Scope::Publish => "To hand in alerts.",
            Scope::Read => "To see what there is.",
            Scope::Admin => "What reveals contacts, links accounts, or takes an alert out of the relay's hands.",
            Scope::Control => "On the control socket alone.",
            Scope::Nothing => "Nothing.",
            Scope::Any => "For whoever may do anything here.",
        };
        json!({ "name": scope.name(), "description": what })
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tautline",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Holds a WhatsApp session for months unattended and delivers local alerts over it.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "tags": rights.collect::<Vec<_>>(),
        "security": [{}, { "bearer": [] }, { "basic": [] }, { "key": [] }, { "query": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic", "description": "The token as user or as password." },
                "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
                "query": { "type": "apiKey", "in": "query", "name": "token" },
            },
            "responses": { "Error": { "description": "What was wrong, and what helps.", "content": error } },
            "schemas": schemas.all(),
        },
    })
}

/// A line for each path and each schema: a change of one shows as that.
fn written(document: &Value) -> String {
    let mut text = String::from("{\n");
    for (place, (name, value)) in document.as_object().unwrap().iter().enumerate() {
        let before = if place == 0 { "" } else { ",\n" };
        let _ = write!(text, "{before}{}:", json!(name));
        match (name.as_str(), value) {
            ("paths", Value::Object(rows)) => rows_of(&mut text, rows),
            ("components", Value::Object(parts)) => {
                for (place, (name, rows)) in parts.iter().enumerate() {
                    let before = if place == 0 { "{\n" } else { ",\n" };
                    let _ = write!(text, "{before}{}:", json!(name));
                    rows_of(&mut text, rows.as_object().unwrap());
                }
                text.push('}');
            }
            _ => text.push_str(&value.to_string()),
        }
    }
    text.push_str("\n}\n");
    text
}

fn rows_of(text: &mut String, rows: &Map<String, Value>) {
    for (place, (name, row)) in rows.iter().enumerate() {
        let before = if place == 0 { "{\n" } else { ",\n" };
        let _ = write!(text, "{before}{}:{row}", json!(name));
    }
    text.push('}');
}

#[test]
fn the_document_is_made_of_the_table_and_the_types() {
    let made = written(&document());
    if std::env::var_os("TAUTLINE_WRITE_OPENAPI").is_some() {
        std::fs::write(PLACE, &made).unwrap();
    }
    assert_eq!(serde_json::from_str::<Value>(&made).unwrap(), document());
    assert!(
        std::fs::read_to_string(PLACE).unwrap() == made,
        "docs/openapi.json is not of today: TAUTLINE_WRITE_OPENAPI=1 cargo test --features lab --lib openapi"
    );
}
