//! The JSON schemas of every YAML file that people write, for editors.
//!
//! The configuration's is made from its structs; the others are files in `docs/schemas/`, which tests hold against the readers and the
//! shipped files (`authoring/src/schemas.rs`). An editor breaks this by giving a schema a field that no reader takes.

use clap::ValueEnum;
use serde_json::Value;

/// A kind of file.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// `homeostat.yaml`
    #[default]
    Config,
    /// `playbooks/*.yaml`
    Playbook,
    /// `*.test.yaml`
    PolicyTest,
    /// `lab.yaml` of a simulated homelab
    Lab,
    /// A scenario of `homeostat simulate`
    Scenario,
}

/// The schema of a kind of file (draft 2020-12).
pub fn schema_of(kind: SchemaOf) -> Value {
    let text = match kind {
        SchemaOf::Config => return super::schema(),
        SchemaOf::Playbook => include_str!("../../docs/schemas/playbook.json"),
        SchemaOf::PolicyTest => include_str!("../../docs/schemas/policy-test.json"),
        SchemaOf::Lab => include_str!("../../docs/schemas/lab.json"),
        SchemaOf::Scenario => include_str!("../../docs/schemas/scenario.json"),
    };
    serde_json::from_str(text).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_schema() {
        for kind in SchemaOf::value_variants() {
            let schema = schema_of(*kind);
            assert!(schema["properties"].as_object().is_some_and(|all| all.len() > 3), "{kind:?}");
        }
    }
    /// The configurations that are shipped, and one that is not right. The other kinds' files are looked at where their readers are.
    #[test]
    fn the_shipped_configurations_fit() {
        let validator = jsonschema::validator_for(&schema_of(SchemaOf::Config)).unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for path in ["deploy/kustomize/base/homeostat.yaml", "deploy/kustomize/components/kubernetes/homeostat.yaml"] {
            let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(root.join(path)).unwrap()).unwrap();
            let wrong: Vec<String> = validator.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(wrong.is_empty(), "{path}:\n{}", wrong.join("\n"));
        }
        assert!(!validator.is_valid(&serde_json::json!({ "sensor": {} })), "an unknown key is refused");
    }
}
