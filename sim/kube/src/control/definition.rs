//! CustomResourceDefinitions: what the server adds to a new one, so that it is established at once.

use crate::meta;
use serde_json::{Value, json};

/// Fills in names and the status of a new definition.
pub(crate) fn establish(definition: &mut Value, now: &str) {
    let kind = meta::text(definition, "/spec/names/kind").to_string();
    if definition["spec"]["names"]["listKind"].is_null() {
        meta::set(definition, "/spec/names/listKind", json!(format!("{kind}List")));
    }
    if definition["spec"]["names"]["singular"].is_null() {
        meta::set(definition, "/spec/names/singular", json!(kind.to_lowercase()));
    }
    let storage =
        meta::list(definition, "/spec/versions").iter().find(|version| version["storage"] == true).map(|version| version["name"].clone());
    let names = definition["spec"]["names"].clone();
    meta::set(definition, "/status/acceptedNames", names);
    meta::set(definition, "/status/storedVersions", json!([storage]));
    meta::set_condition(definition, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now);
    meta::set_condition(definition, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now);
}
