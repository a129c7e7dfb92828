//! What an experiment's status says: Chaos Mesh's status machine, read without believing what looks alike.
//!
//! `AllRecovered` is also true before anything was injected, conditions come in no order and without times, and nothing retries when no
//! target was found. So the state comes from `desiredPhase` and the records. Deliberately absent: waiting. An editor breaks this by
//! reading `AllRecovered` alone as "over".

use serde_json::Value;

/// Where an experiment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The controller has not looked at it yet.
    Waiting,
    /// The controller looked and found no target; it does not look again by itself.
    NoTarget,
    /// Some targets are not hit yet.
    Injecting,
    /// All targets are hit.
    Active,
    /// It is being taken back.
    Recovering,
    /// It is over: a one-shot one has struck, any other was taken back everywhere.
    Over,
}

/// One target as the controller remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `namespace/pod` or `namespace/pod/container`.
    pub id: String,
    /// Whether it is fully hit.
    pub injected: bool,
    /// Whether it is fully free.
    pub free: bool,
    /// How often it was hit.
    pub hits: i64,
    /// What the last failure said.
    pub failure: Option<String>,
}

/// What a status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Where it is.
    pub phase: Phase,
    /// The targets.
    pub records: Vec<Record>,
    /// Whether it is being deleted.
    pub ending: bool,
}

/// Whether a condition is `True`; `None` where it is not there.
pub fn condition(object: &Value, kind: &str) -> Option<bool> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).map(|condition| condition["status"] == "True")
}

fn record(value: &Value) -> Record {
    let phase = value["phase"].as_str().unwrap_or_default();
    let failure = value["events"].as_array().and_then(|events| events.iter().rev().find(|event| event["type"] == "Failed"));
    let words = |event: &Value| event["message"].as_str().unwrap_or("no reason was given").chars().take(200).collect();
    Record {
        id: value["id"].as_str().unwrap_or("?").to_owned(),
        injected: phase == "Injected",
        free: phase == "Not Injected",
        hits: value["injectedCount"].as_i64().unwrap_or(0),
        failure: failure.map(words),
    }
}

/// Reads an experiment that hits pods.
pub fn read(object: &Value, one_shot: bool) -> Reading {
    let experiment = &object["status"]["experiment"];
    let records: Vec<Record> = experiment["containerRecords"].as_array().into_iter().flatten().map(record).collect();
    let ending = object["metadata"]["deletionTimestamp"].is_string();
    let stop = experiment["desiredPhase"] == "Stop" || ending;
    let all_hit = !records.is_empty() && records.iter().all(|record| record.injected);
    let all_free = records.iter().all(|record| record.free);
    let phase = match condition(object, "Selected") {
        Some(true) if !records.is_empty() => match (stop, one_shot) {
            (_, true) if all_hit => Phase::Over,
            (false, _) if all_hit => Phase::Active,
            (false, _) => Phase::Injecting,
            (true, _) if all_free => Phase::Over,
            (true, _) => Phase::Recovering,
        },
        Some(false) => Phase::NoTarget,
        _ => Phase::Waiting,
    };
    Reading { phase, records, ending }
}

/// Reads a Workflow or a Schedule: a Workflow is over when it is `Accomplished`; a Schedule never is by itself.
pub fn read_composed(object: &Value) -> Reading {
    let phase = match (condition(object, "Accomplished"), condition(object, "Scheduled")) {
        (Some(true), _) => Phase::Over,
        (_, Some(true)) => Phase::Active,
        _ if object["status"]["time"].is_string() || object["status"]["active"].is_array() => Phase::Active,
        _ => Phase::Waiting,
    };
    Reading { phase, records: Vec::new(), ending: object["metadata"]["deletionTimestamp"].is_string() }
}

impl Reading {
    /// The targets and their failures, for people.
    pub fn shown(&self) -> String {
        let hit = self.records.iter().filter(|record| !record.free).count();
        let mut words = format!("{hit} of {} targets are hit", self.records.len());
        for record in self.records.iter().filter(|record| record.failure.is_some()).take(3) {
            words.push_str(&format!("; {}: {}", record.id, record.failure.as_deref().unwrap_or_default()));
        }
        words
    }

    /// The targets that are not free, for people.
    pub fn held(&self) -> String {
        let held: Vec<&str> = self.records.iter().filter(|record| !record.free).map(|record| record.id.as_str()).take(10).collect();
        if held.is_empty() { "no target is known to be hit".into() } else { format!("still hit: {}", held.join(", ")) }
    }

    /// Whether every target was hit at least once.
    pub fn all_were_hit(&self) -> bool {
        !self.records.is_empty() && self.records.iter().all(|record| record.injected || record.hits > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(desired: &str, phases: &[&str], selected: &str) -> Value {
        let records: Vec<Value> = phases.iter().map(|phase| json!({ "id": "web/a", "phase": phase })).collect();
        json!({ "status": {
            "experiment": { "desiredPhase": desired, "containerRecords": records },
            // As the real controller shows it before the injection: already "recovered".
            "conditions": [{ "type": "AllRecovered", "status": "True" }, { "type": "Selected", "status": selected }] } })
    }

    #[test]
    fn every_state_of_the_machine() {
        let rows = [
            (json!({}), false, Phase::Waiting),
            (object("Run", &[], "False"), false, Phase::NoTarget),
            (object("Run", &["Not Injected"], "True"), false, Phase::Injecting),
            (object("Run", &["Injected", "Not Injected/2"], "True"), false, Phase::Injecting),
            (object("Run", &["Injected", "Injected"], "True"), false, Phase::Active),
            (object("Stop", &["Not Injected", "Injected"], "True"), false, Phase::Recovering),
            (object("Stop", &["Not Injected", "Not Injected"], "True"), false, Phase::Over),
            (object("Run", &["Injected"], "True"), true, Phase::Over),
            (object("Run", &["Not Injected"], "True"), true, Phase::Injecting),
        ];
        for (object, one_shot, phase) in rows {
            assert_eq!(read(&object, one_shot).phase, phase, "{object}");
        }
    }

    #[test]
    fn deletion_means_stop_whatever_stands_there() {
        let mut object = object("Run", &["Injected"], "True");
        object["metadata"] = json!({ "deletionTimestamp": "2026-11-20T00:00:00Z" });
        let reading = read(&object, false);
        assert_eq!((reading.phase.clone(), reading.ending), (Phase::Recovering, true));
        assert_eq!(reading.held(), "still hit: web/a");
    }

    #[test]
    fn failures_are_told_with_their_target() {
        let object = json!({ "status": { "conditions": [{ "type": "Selected", "status": "True" }], "experiment": { "desiredPhase": "Run",
            "containerRecords": [{ "id": "web/a", "phase": "Injected", "injectedCount": 1 }, { "id": "web/b", "phase": "Not Injected",
            "events": [{ "type": "Failed", "operation": "Apply", "message": "rpc error: unable to flush ip sets" }] }] } } });
        let reading = read(&object, false);
        assert_eq!(reading.shown(), "1 of 2 targets are hit; web/b: rpc error: unable to flush ip sets");
        assert!(!reading.all_were_hit());
    }
}
