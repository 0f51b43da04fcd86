//! The OpenAPI 3.1 document of the table of endpoints.

use serde_json::{Map, Value, json};

use crate::endpoints::{Content, ENDPOINTS, Endpoint, Verb};

/// The document; `docs/openapi.json` is a copy of it.
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let verb = match endpoint.verb {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Delete => "delete",
        };
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[verb] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mainstay admin API",
            "version": "1",
            "description": "Reads are open to whoever reaches the listener. Changes are open to processes on this machine \
                (a loopback peer that names a loopback host, no proxy between); all others send the admin token. Changes \
                from pages of another origin are refused.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"adminToken": {"type": "http", "scheme": "bearer"}},
        },
    })
}

const STATE: &str = "Differs between kinds of roles. All have nodes; sync also has leader (who leads, null before any consensus client \
                     has called), slot (of the clock), head (that the execution clients follow) and clients (name, leads, state, reason, \
                     slot, head, silent_seconds); relay has chain_id, preferred, outer (its outer peers), rounds (whose blocks filled the last ones of its \
                     producers), claims and alarms";

const RECENT: &str = "Of engine and sync: rounds (64 of newPayload and 64 of forkchoiceUpdated: seq, at_ms, method, block, number, verdict, early, \
                      took_us, votes of node, said, took_us) and disagreements (the same with a cause); empty for the others";

fn operation(endpoint: &Endpoint) -> Value {
    let mut replies = Map::new();
    for gives in endpoint.gives {
        let (content_type, schema) = match gives.content {
            Content::Text(content_type) => (content_type, json!({"type": "string"})),
            Content::Json(schema) => ("application/json", reference(schema)),
        };
        let reply = json!({"description": gives.when, "content": {content_type: {"schema": schema}}});
        replies.insert(gives.status.to_string(), reply);
    }
    for (status, when) in errors(endpoint) {
        let content = json!({"application/json": {"schema": reference("Error")}});
        // What an endpoint says of itself is more to the point.
        replies.entry(status.to_string()).or_insert_with(|| json!({"description": when, "content": content}));
    }

    let mut operation = json!({
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "responses": replies,
    });
    let parameters: Vec<Value> = parameters(endpoint.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = endpoint.takes {
        let content = json!({"application/json": {"schema": reference(schema)}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    if endpoint.writes {
        // The empty one: a process on this machine needs none.
        operation["security"] = json!([{}, {"adminToken": []}]);
    }
    operation
}

fn errors(endpoint: &Endpoint) -> Vec<(u16, &'static str)> {
    let mut errors = Vec::new();
    if parameters(endpoint.path).next().is_some() {
        errors.push((404, "There is no such role or node"));
    }
    if endpoint.writes {
        errors.extend([
            (400, "It can't be done as asked"),
            (401, "The admin token is missing or wrong"),
            (403, "From a page of another origin, or not from this machine and no admin token is set"),
            (405, "This kind of role doesn't do that"),
            (503, "What the role keeps its nodes in can't be asked"),
            (504, "Not done in 20 s; it is still being worked on"),
        ]);
    }
    if endpoint.takes.is_some() {
        errors.extend([(408, "The body did not come"), (413, "The body is over 64 KiB")]);
    }
    errors
}

/// The names in braces.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn schemas() -> Value {
    let level = json!({"type": "string", "enum": ["well", "degraded", "down"]});
    let text = json!({"type": "string"});
    let report = [
        ("role", json!({"type": "string", "description": "Its kind, for example engine"})),
        ("name", text.clone()),
        ("status", level.clone()),
        ("reasons", json!({"type": "array", "items": text, "description": "Why it is not better"})),
    ];
    let actions = (
        "actions",
        json!({"type": "array", "items": text, "description": "Words for what it does of the actions"}),
    );
    let reports = json!({"type": "array", "items": reference("Report")});
    let health = [("status", level), ("version", text.clone()), ("roles", reports)];
    let process = [
        ("phase", json!({"type": "string", "enum": ["starting", "serving", "stopping"]})),
        (
            "started_at_ms",
            json!({"type": "integer", "description": "When the process was started, in milliseconds since 1970"}),
        ),
        ("up_seconds", json!({"type": "integer", "description": "How long it runs"})),
        ("reload", last_reload()),
    ];
    let roles = ("roles", json!({"type": "array", "items": reference("Role")}));
    let state = ("state", json!({"type": "object", "description": STATE}));
    json!({
        "AddNode": add_node(),
        "AllRoles": object([
            ("process", object([("version", text.clone())].into_iter().chain(process.clone()))),
            roles.clone(),
        ]),
        "Changes": object([("changes", list(object([
            ("at_ms", json!({"type": "integer", "description": "Milliseconds since 1970"})),
            ("role", text.clone()),
            ("name", text.clone()),
            ("of", described("What changed, a node mostly; empty: the role, or something was done")),
            ("before", text.clone()),
            ("now", text.clone()),
            ("why", described("The reason, or who did it")),
        ])))]),
        "Error": object([("error", object([("message", text.clone())]))]),
        "Explained": object([
            ("command", described("The command line that says the same")),
            ("text", described("What that prints")),
            ("told", json!({"type": "object"})),
        ]),
        "Health": object(health.clone()),
        "History": object([
            ("every_seconds", json!({"type": "integer"})),
            ("at_ms", list(json!({"type": "integer"}))),
            ("series", list(object([
                ("role", text.clone()),
                ("name", text.clone()),
                ("of", described("Of which node or lane; empty: of the role")),
                ("figure", text.clone()),
                ("unit", text.clone()),
                ("values", list(json!({"type": ["number", "null"]}))),
            ]))),
        ]),
        "Attestation": attestation(),
        "Nodes": object([("nodes", json!({"type": "array", "items": node()}))]),
        "Object": {"type": "object"},
        "Recent": {"type": "object", "description": RECENT},
        "Problems": object([("error", object([
            ("message", text.clone()),
            ("problems", list(text.clone())),
        ]))]),
        "Reloaded": object([("changes", list(changed()))]),
        "Report": object(report.clone()),
        "Role": object(report.into_iter().chain([actions, state])),
        "Roles": object([roles]),
        "SetMajority": object([("majority", json!({"type": "number", "minimum": 0, "maximum": 1}))]),
        "Status": object(health.into_iter().chain(process)),
    })
}

/// A setting that differs from before.
fn changed() -> Value {
    let any = |what: &str| json!({"description": what});
    object([
        ("role", described("Kind of the role; empty: the whole process")),
        ("name", described("Its name")),
        ("key", described("The key; empty where no key says it: another secret in the same file")),
        ("origin", described("Where it stands, mainstay.toml:7")),
        ("was", any("The value before, without secrets; null: not set")),
        ("now", any("The value now")),
        ("text", described("What differs, in words")),
    ])
}

fn last_reload() -> Value {
    let mut last = object([
        ("number", json!({"type": "integer"})),
        ("at_ms", json!({"type": "integer", "description": "Milliseconds since 1970"})),
        ("by", described("Who asked")),
        ("outcome", json!({"type": "string", "enum": ["applied", "wrong", "not_now"]})),
        ("changes", list(changed())),
        ("problems", list(json!({"type": "string"}))),
    ]);
    last["type"] = json!(["object", "null"]);
    last["description"] =
        json!("What came of the settings being read anew last; null: nobody has asked for it");
    last
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn described(what: &str) -> Value {
    json!({"type": "string", "description": what})
}

fn node() -> Value {
    json!({
        "type": "object",
        "description": "As its kind of role has it",
        "properties": {"attestation": reference("Attestation")},
    })
}

/// Of a node that is to prove what it runs.
fn attestation() -> Value {
    let text = |what: &str| json!({"type": "string", "description": what});
    let maybe = |what: &str| json!({"type": ["string", "null"], "description": what});
    let moment = |what: &str| json!({"type": ["string", "null"], "format": "date-time", "description": what});
    let texts = |what: &str| json!({"type": "array", "items": {"type": "string"}, "description": what});
    let mut measured = object([
        ("name", text("MRENCLAVE, PCR 4, MRTD, RTMR 0 …")),
        ("value", maybe("In hex; null if the evidence says nothing of it")),
        ("expected", maybe("In hex; null if it is only shown")),
        ("warn_only", json!({"type": "boolean", "description": "Another value is only warned of"})),
    ]);
    measured["description"] = json!("A value that was measured");
    let mut schema = object([
        ("form", json!({"type": "string", "enum": ["sgx", "sev", "tdx"]})),
        ("verdict", json!({"type": "string", "enum": ["held", "refused"]})),
        ("step", maybe("The check that refused it")),
        ("reason", maybe("Why")),
        ("measured", json!({"type": "array", "items": measured})),
        ("tcb_status", maybe("The status of its trusted computing base, in its maker's words")),
        ("warnings", texts("What doesn't hold and is allowed not to")),
        (
            "at",
            json!({"type": "string", "format": "date-time", "description": "When a connection to it was last judged"}),
        ),
        ("until", moment("Until when nothing that this rests on expires; null if it was refused")),
    ]);
    schema["description"] = json!(
        "How a node that is to prove what it runs (SGX_, SEV_ or TDX_ in its URI) was judged last; missing before it was, and of other nodes"
    );
    schema
}

fn add_node() -> Value {
    let mut schema = object([("uri", json!({"type": "string", "description": "As in the configuration"}))]);
    schema["properties"]["force"] = json!({
        "type": "boolean",
        "default": false,
        "description": "Also if it doesn't answer; of use to roles that ask a node before they add it",
    });
    schema
}

/// An object all of whose fields are there.
fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let properties: Map<String, Value> =
        fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}
