//! The JSON that monitoring systems read, held against its published schema.

use serde_json::Value;

use crate::scene::Scene;
use crate::support::data::Kind;

/// What of `value` the schema does not allow, with its place.
fn breaches(schema: &Value, root: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = match schema["$ref"].as_str() {
        Some(path) => root.pointer(&path[1..]).unwrap_or_else(|| panic!("{path} is not there")),
        None => schema,
    };
    let mut found = Vec::new();
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the schema uses a type this test does not know: {other}"),
    };
    let fits = match &schema["type"] {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        _ => panic!("{at} has no type in the schema"),
    };
    if !fits {
        found.push(format!("{at} is {value}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at} is {value}, none of {words:?}"));
    }
    if let Some(items) = value.as_array() {
        for (nth, item) in items.iter().enumerate() {
            found.extend(breaches(&schema["items"], root, item, &format!("{at}/{nth}")));
        }
    }
    if let Some(members) = value.as_object() {
        let declared = schema["properties"].as_object().unwrap();
        for required in schema["required"].as_array().unwrap() {
            if !members.contains_key(required.as_str().unwrap()) {
                found.push(format!("{at} lacks {required}"));
            }
        }
        for (name, member) in members {
            match declared.get(name) {
                Some(schema) => {
                    found.extend(breaches(schema, root, member, &format!("{at}/{name}")));
                }
                None => found.push(format!("{at}/{name} is not in the schema")),
            }
        }
    }
    found
}

#[test]
fn the_status_is_what_its_schema_says() {
    let schema: Value =
        serde_json::from_str(include_str!("../../docs/status.schema.json")).unwrap();
    let scene_schema = |scene: &Scene, code: i32| {
        let ended = scene.command(&["status", "--json"]);
        assert_eq!(ended.code, Some(code), "{}{}", ended.out, ended.err);
        let status: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(breaches(&schema, &schema, &status, ""), Vec::<String>::new(), "{status:#}");
        // The test can fail.
        let mut wrong = status.clone();
        wrong["queue"]["waiting"] = Value::from("many");
        wrong["streams"][0]["new"] = Value::from(1);
        wrong.as_object_mut().unwrap().remove("pid");
        assert_eq!(breaches(&schema, &schema, &wrong, "").len(), 3);
    };
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 20);
    scene.run();
    scene.settle();
    scene.wait_status_is("/state", "healthy");
    scene_schema(&scene, 0);
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 20);
    scene.wait_status_is("/state", "degraded");
    scene_schema(&scene, 1);
    scene.kill();
    scene_schema(&scene, 3);
}
