//! The schemas of `docs/schemas/` fit the files that are shipped, refuse what the readers refuse, and know the fields that they know.

use homeostat_model::Playbook;
use homeostat_sim::lab::Lab;
use homeostat_sim::scenario::Scenario;
use jsonschema::Validator;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn schema(name: &str) -> Value {
    let path = root().join("docs/schemas").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect("the schema is there")).expect("the schema is JSON")
}

fn validator(name: &str) -> Validator {
    let schema = schema(name);
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files of a folder with this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.display().to_string().ends_with(ending)).collect()
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the file is there");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_shipped_file_fits_its_schema() {
    // A folder, and how its files end.
    type Place = (&'static str, &'static str);
    let folders: [(&str, &[Place], usize); 4] = [
        ("playbook", &[("playbooks", ".yaml")], 12),
        (
            "policy-test",
            &[
                ("policies", ".test.yaml"),
                ("labs/classic/policies", ".test.yaml"),
                ("labs/classic/demo", ".test.yaml"),
                ("docs/cookbook", ".test.yaml"),
            ],
            39,
        ),
        ("lab", &[("labs/classic", "lab.yaml")], 1),
        ("scenario", &[("tests/scenarios", ".yaml"), ("tests/scenarios/playbooks", ".yaml"), ("labs/classic", "month.yaml")], 50),
    ];
    for (kind, folders, least) in folders {
        let validator = validator(kind);
        let paths: Vec<PathBuf> = folders.iter().flat_map(|(folder, ending)| files(folder, ending)).collect();
        // A list of lessons that wait for something is no scenario.
        let paths: Vec<PathBuf> = paths.into_iter().filter(|path| !path.ends_with("pending.yaml")).collect();
        assert!(paths.len() >= least, "{kind}: {}", paths.len());
        for path in paths {
            let wrong: Vec<String> =
                validator.iter_errors(&read(&path)).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(wrong.is_empty(), "{}:\n{}", path.display(), wrong.join("\n"));
        }
    }
}

#[test]
fn what_the_readers_refuse_is_refused() {
    let minimal = |kind: &str| match kind {
        "playbook" => json!({ "doc": "x", "steps": [{ "id": "a", "verb": "notify.send", "timeout": "5m" }] }),
        "policy-test" => json!({ "policy": "x", "interval": "1m", "expect": [{ "at": "5m", "quiet": "well" }] }),
        "lab" => json!({ "name": "x", "engine": "a", "nodes": [{ "name": "a", "kind": "small" }] }),
        _ => json!({ "name": "x", "for": "1h", "faults": [{ "at": "1m", "fault": { "crash": { "node": "a" } } }] }),
    };
    let change = |kind: &str, pointer: &str, value: Value| {
        let mut file = minimal(kind);
        *file.pointer_mut(pointer).unwrap_or_else(|| panic!("{kind} has {pointer}")) = value;
        file
    };
    for kind in ["playbook", "policy-test", "lab", "scenario"] {
        let validator = validator(kind);
        assert!(validator.is_valid(&minimal(kind)), "{kind}");
        let mut misspelt = minimal(kind);
        misspelt["intervall"] = json!("1m");
        assert!(!validator.is_valid(&misspelt), "{kind} takes an unknown key");
        assert!(!validator.is_valid(&json!({})), "{kind} takes nothing");
    }
    for (kind, pointer, value) in [
        ("playbook", "/steps/0/timeout", json!("soon")),
        ("playbook", "/steps/0/id", json!(1)),
        ("policy-test", "/expect/0/at", json!(5)),
        ("policy-test", "/expect/0/quiet", json!(false)),
        ("lab", "/nodes/0/kind", json!("big")),
        ("scenario", "/faults/0/fault", json!({ "crsh": { "node": "a" } })),
    ] {
        assert!(!validator(kind).is_valid(&change(kind, pointer, value.clone())), "{kind} {pointer} takes {value}");
    }
}

/// The fields that a reader says it expects where it meets one that it does not know.
fn fields<T: DeserializeOwned>(mut around: Value, pointer: &str) -> BTreeSet<String> {
    let place = around.pointer_mut(pointer).expect("the place is there");
    *place = json!({ "no such field": 1 });
    let said = serde_json::from_value::<T>(around).err().map(|error| error.to_string()).unwrap_or_default();
    let (_, expected) = said.split_once("expected").unwrap_or_else(|| panic!("{pointer}: {said}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A field that a reader has and the schema does not would be underlined in every editor.
#[test]
fn the_schemas_have_the_fields_of_the_readers() {
    let properties = |kind: &str, pointer: &str| -> BTreeSet<String> {
        let schema = schema(kind);
        let found = schema.pointer(pointer).and_then(Value::as_object).unwrap_or_else(|| panic!("{kind} has {pointer}"));
        found.keys().cloned().collect()
    };
    let step = json!({ "doc": "x", "steps": [null] });
    let node = json!({ "name": "x", "engine": "a", "nodes": [null] });
    let service = json!({ "name": "x", "engine": "a", "nodes": [], "services": [null] });
    let verb = json!({ "name": "x", "engine": "a", "nodes": [], "verbs": { "a.b": null } });
    let fault = json!({ "name": "x", "for": "1h", "faults": [null] });
    for (known, kind, pointer) in [
        (fields::<Playbook>(json!({}), ""), "playbook", "/properties"),
        (fields::<Playbook>(step, "/steps/0"), "playbook", "/$defs/step/properties"),
        (fields::<Lab>(json!({}), ""), "lab", "/properties"),
        (fields::<Lab>(node, "/nodes/0"), "lab", "/$defs/node/properties"),
        (fields::<Lab>(service, "/services/0"), "lab", "/$defs/service/properties"),
        (fields::<Lab>(verb, "/verbs/a.b"), "lab", "/$defs/verb/properties"),
        (fields::<Scenario>(json!({}), ""), "scenario", "/properties"),
        (fields::<Scenario>(fault, "/faults/0"), "scenario", "/properties/faults/items/properties"),
    ] {
        assert!(known.len() > 2, "{kind} {pointer}: {known:?}");
        assert_eq!(properties(kind, pointer), known, "{kind} {pointer}");
    }
}
