//! `velero.backup` and `velero.restore`: backups of namespaces, and bringing them back.
//!
//! Done means the phase `Completed`: `PartiallyFailed` is not good enough to rest a risky act on. Backups go by DeleteBackupRequest; a
//! deleted Backup object alone would come back from the storage. Deliberately absent: schedules, and backups of cluster-scoped
//! things. An editor breaks this by making a backup without asking whether its storage is available.

#[cfg(test)]
mod tests;

use super::call::{Call, Kind, name_problem};
use super::client::KubeClient;
use super::frame::{DECISION, Deed, MANAGED_BY, Run, Step, annotations, seen};
use super::refusal::Meaning;
use super::rights::{Needs, Rule};
use homeostat_model::{
    Action, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Receipt, Span, Verb, VerbSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The verb that makes a backup.
pub const BACKUP: &str = "velero.backup";
/// The verb that brings one back.
pub const RESTORE: &str = "velero.restore";
const BACKUPS: Kind = Kind::namespaced("velero.io", "v1", "Backup", "backups");
const RESTORES: Kind = Kind::namespaced("velero.io", "v1", "Restore", "restores");
const LOCATIONS: Kind = Kind::namespaced("velero.io", "v1", "BackupStorageLocation", "backupstoragelocations");
const DELETIONS: Kind = Kind::namespaced("velero.io", "v1", "DeleteBackupRequest", "deletebackuprequests");

/// Backups by Velero: the target is `namespace/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VeleroConfig {
    /// Velero's own namespace, where its objects are made.
    #[serde(default = "namespace_default")]
    pub namespace: String,
    /// The BackupStorageLocation; it must be available.
    #[serde(default = "storage_location_default")]
    pub storage_location: String,
    /// How long a backup is kept.
    #[serde(default = "ttl_default")]
    #[schemars(with = "String")]
    pub ttl: Span,
    /// Whether volumes are backed up as well, by snapshots.
    #[serde(default = "yes")]
    pub snapshot_volumes: bool,
    /// How long a backup or a restore may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Whether there is `velero.restore` at all.
    #[serde(default)]
    pub restore: bool,
    /// The energy that one backup is expected to cost, in joules; for budgets.
    #[serde(default)]
    pub energy_joules: f64,
}

fn namespace_default() -> String {
    "velero".into()
}
fn storage_location_default() -> String {
    "default".into()
}
fn ttl_default() -> Span {
    Span::from_hours(72)
}
fn yes() -> bool {
    true
}
fn timeout_default() -> Span {
    Span::from_mins(30)
}

/// What a phase of a Backup or Restore means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Going,
    Completed,
    Failed,
    Deleting,
}

fn phase(object: &Value) -> Phase {
    match object["status"]["phase"].as_str().unwrap_or("New") {
        "Completed" => Phase::Completed,
        // The others that end in `PartiallyFailed` are still going; how they end is known, and not enough.
        "PartiallyFailed" | "Failed" | "FailedValidation" => Phase::Failed,
        "Deleting" => Phase::Deleting,
        _ => Phase::Going,
    }
}

fn told(object: &Value) -> String {
    let status = &object["status"];
    let mut words = status["phase"].as_str().unwrap_or("without a phase").to_owned();
    for field in ["errors", "warnings"] {
        if let Some(count) = status[field].as_i64().filter(|count| *count > 0) {
            words.push_str(&format!(", {count} {field}"));
        }
    }
    if let Some(done) = status["progress"]["itemsBackedUp"].as_i64().or(status["progress"]["itemsRestored"].as_i64()) {
        words.push_str(&format!(", {done} of {} items", status["progress"]["totalItems"].as_i64().unwrap_or(0)));
    }
    let problems = status["validationErrors"].as_array().into_iter().flatten().chain(status.get("failureReason"));
    for problem in problems.filter_map(Value::as_str).take(3) {
        words.push_str(&format!("; {}", problem.chars().take(200).collect::<String>()));
    }
    words
}

/// The power `velero`.
#[derive(Clone, Debug)]
pub struct Velero {
    config: VeleroConfig,
}

impl Velero {
    /// Checks the configuration; sends nothing. Every problem is listed.
    pub fn new(config: &VeleroConfig) -> Result<Velero, Vec<Fault>> {
        let mut problems: Vec<String> =
            [&config.namespace, &config.storage_location].iter().filter_map(|name| name_problem(name)).collect();
        if config.ttl < Span::from_hours(1) {
            problems.push(format!("`ttl` is {}, expected at least 1h", config.ttl));
        }
        if config.timeout <= Span::ZERO {
            problems.push("`timeout` must be more than 0s".into());
        }
        if !config.energy_joules.is_finite() || config.energy_joules < 0.0 {
            problems.push("`energy_joules` must be a number of at least 0".into());
        }
        if problems.is_empty() {
            return Ok(Velero { config: config.clone() });
        }
        Err(problems.into_iter().map(|problem| Fault::new(FaultCode::Malformed, "configure `velero`", problem)).collect())
    }

    /// The name of what an action makes: fixed, so that it is found again.
    fn name(client: &KubeClient, action: &Action) -> String {
        super::chaos::object_name(client, action)
    }

    fn kind(action: &Action) -> Kind {
        if action.verb.as_str() == RESTORE { RESTORES } else { BACKUPS }
    }

    fn path(&self, client: &KubeClient, action: &Action) -> String {
        Self::kind(action).path(&self.config.namespace, &Self::name(client, action))
    }

    fn spec_of(&self, action: &Action) -> Value {
        let namespace = action.target.name();
        let text = |name: &str| action.args.get(name).and_then(Arg::as_text);
        if action.verb.as_str() == RESTORE {
            let mut spec = json!({ "backupName": text("backup"), "includedNamespaces": [namespace], "restorePVs": self.config.snapshot_volumes,
                "existingResourcePolicy": text("existing").unwrap_or("none") });
            if let Some(into) = text("into") {
                spec["namespaceMapping"] = json!({ namespace: into });
            }
            return spec;
        }
        // Velero's ttl is a Go duration; hours are enough.
        let ttl = format!("{}h0m0s", (self.config.ttl.millis() / 3_600_000).max(1));
        json!({ "includedNamespaces": [namespace], "snapshotVolumes": self.config.snapshot_volumes, "ttl": ttl,
            "storageLocation": self.config.storage_location })
    }

    fn object(&self, client: &KubeClient, action: &Action, kind: &Kind, spec: Value) -> Value {
        json!({
            "apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": { "name": Self::name(client, action), "namespace": self.config.namespace,
                "labels": { MANAGED_BY: "homeostat" }, "annotations": annotations(client, action) },
            "spec": spec,
        })
    }

    fn create(&self, client: &KubeClient, action: &Action) -> Call {
        let kind = Self::kind(action);
        let body = self.object(client, action, &kind, self.spec_of(action));
        Call::create(kind.list_path(&self.config.namespace), body).with("fieldValidation", "Strict")
    }

    /// What must be there before anything is made: an available storage, or a whole backup.
    async fn ground(&self, run: &Run<'_>) -> Step<()> {
        if run.action.verb.as_str() == BACKUP {
            let location = &self.config.storage_location;
            let found = match run.read(&Call::get(LOCATIONS.path(&self.config.namespace, location))).await {
                Ok(found) => found,
                Err(refusal) if refusal.is_gone() => {
                    let detail = format!("there is no BackupStorageLocation `{location}`; nothing was sent");
                    return Err(run.not_done(FaultCode::NotFound, detail));
                }
                Err(refusal) => return Err(run.refused(&refusal)),
            };
            if found["status"]["phase"] != "Available" {
                let phase = found["status"]["phase"].as_str().unwrap_or("without a phase");
                let detail = format!("the BackupStorageLocation `{location}` is {phase}, expected Available; nothing was sent");
                return Err(run.not_done(FaultCode::Conflict, detail));
            }
            return Ok(());
        }
        let name = run.action.args.get("backup").and_then(Arg::as_text).unwrap_or_default();
        let backup = match run.read(&Call::get(BACKUPS.path(&self.config.namespace, name))).await {
            Ok(backup) => backup,
            Err(refusal) if refusal.is_gone() => {
                return Err(run.not_done(FaultCode::NotFound, format!("there is no Backup `{name}`; nothing was sent")));
            }
            Err(refusal) => return Err(run.refused(&refusal)),
        };
        if phase(&backup) != Phase::Completed {
            return Err(run
                .not_done(FaultCode::Conflict, format!("the Backup `{name}` is {}, expected Completed; nothing was sent", told(&backup))));
        }
        let namespaces = backup["spec"]["includedNamespaces"].as_array();
        let holds = namespaces.is_none_or(|all| all.is_empty() || all.iter().any(|one| one == "*" || one == run.action.target.name()));
        if !holds {
            let detail = format!("the Backup `{name}` does not hold the namespace `{}`; nothing was sent", run.action.target.name());
            return Err(run.not_done(FaultCode::NotFound, detail));
        }
        Ok(())
    }

    async fn made(&self, run: &Run<'_>) -> Step<Receipt> {
        self.ground(run).await?;
        let (create, path) = (self.create(run.client, run.action), self.path(run.client, run.action));
        run.read(&create.clone().dry()).await.map_err(|refusal| run.refused(&refusal))?;
        let object = match run.write(&create).await? {
            Ok(object) => object,
            Err(refusal) if refusal.meaning() == Meaning::Exists || !refusal.is_definite() => match run.read(&Call::get(&*path)).await {
                Ok(object) => object,
                Err(_) => return Err(run.refused(&refusal)),
            },
            Err(refusal) => return Err(run.refused(&refusal)),
        };
        if object["metadata"]["annotations"][DECISION] != run.decision() {
            return Err(run.not_done(FaultCode::Conflict, format!("{path} is there already and is not of this action")));
        }
        loop {
            let words = match run.glance(&Call::get(&*path)).await {
                Ok(Some(object)) => match self.judged(run, &object) {
                    Some(end) => return end,
                    None => told(&object),
                },
                Ok(None) => "not seen".into(),
                Err(refusal) if refusal.is_gone() => {
                    return Err(run.not_done(FaultCode::Conflict, format!("{path} was deleted by somebody else")));
                }
                Err(refusal) => return Err(run.refused(&refusal)),
            };
            if !run.pause().await {
                return Err(run.unknown(FaultCode::TimedOut, format!("{path} is not at its end: {words}")));
            }
        }
    }

    /// How an object ends a wait, if it does.
    fn judged(&self, run: &Run<'_>, object: &Value) -> Option<Step<Receipt>> {
        let name = Self::name(run.client, run.action);
        match phase(object) {
            Phase::Going => None,
            Phase::Completed => {
                let undo = BTreeMap::from([("name".to_owned(), Arg::Text(name.clone()))]);
                Some(Ok(Receipt { observed: format!("{name} is {}", told(object)), undo }))
            }
            Phase::Failed => Some(Err(run.not_done(FaultCode::Failed, format!("{name} is {}; it cannot be relied on", told(object))))),
            Phase::Deleting => Some(Err(run.not_done(FaultCode::Conflict, format!("{name} is being deleted by somebody else")))),
        }
    }

    async fn probed(&self, run: &Run<'_>) -> Step<Receipt> {
        let path = self.path(run.client, run.action);
        match run.read(&Call::get(&*path)).await {
            Ok(object) if object["metadata"]["annotations"][DECISION] != run.decision() => {
                Err(run.not_done(FaultCode::Conflict, format!("{path} is not of this action")))
            }
            Ok(object) => self
                .judged(run, &object)
                .unwrap_or_else(|| Err(run.unknown(FaultCode::TimedOut, format!("{path} is not at its end: {}", told(&object))))),
            Err(refusal) if refusal.is_gone() => Err(run.too_late(format!("{path} is not there"))),
            Err(refusal) => Err(run.refused(&refusal)),
        }
    }

    /// Deletes our backup by a request under the same fixed name, and waits until the backup is gone.
    async fn taken_back(&self, run: &Run<'_>) -> Step<Receipt> {
        let path = self.path(run.client, run.action);
        let name = Self::name(run.client, run.action);
        match run.read(&Call::get(&*path)).await {
            Ok(object) if object["metadata"]["annotations"][DECISION] != run.decision() => {
                return Err(run.not_done(FaultCode::Conflict, format!("{path} is not of this action; nothing was sent")));
            }
            Ok(_) => {}
            Err(refusal) if refusal.is_gone() => return Ok(seen(format!("{name} was gone already"))),
            Err(refusal) => return Err(run.refused(&refusal)),
        }
        let body = self.object(run.client, run.action, &DELETIONS, json!({ "backupName": name }));
        let create = Call::create(DELETIONS.list_path(&self.config.namespace), body);
        if let Err(refusal) = run.write(&create).await?
            && refusal.meaning() != Meaning::Exists
        {
            return Err(run.refused(&refusal));
        }
        let request = DELETIONS.path(&self.config.namespace, &name);
        loop {
            match run.glance(&Call::get(&*path)).await {
                Err(refusal) if refusal.is_gone() => return Ok(seen(format!("{name} is deleted, in the storage too"))),
                Err(refusal) => return Err(run.refused(&refusal)),
                Ok(_) => {}
            }
            // Velero leaves the request with its errors when it could not delete, and takes it away when it could.
            if let Ok(Some(request)) = run.glance(&Call::get(&*request)).await {
                let errors: Vec<&str> =
                    request["status"]["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).take(3).collect();
                if request["status"]["phase"] == "Processed" && !errors.is_empty() {
                    return Err(run.not_done(FaultCode::Failed, format!("{name} could not be deleted: {}", errors.join("; "))));
                }
            }
            if !run.pause().await {
                return Err(run.unknown(FaultCode::TimedOut, format!("{name} is still there; its deletion was requested")));
            }
        }
    }
}

impl Deed for Velero {
    fn spec(&self) -> ActuatorSpec {
        let arg = |name: &str, kind, required, doc: &str| ArgSpec { name: name.into(), kind, required, doc: doc.into() };
        let backup = VerbSpec {
            verb: BACKUP.into(),
            class: Class::Reversible,
            args: Vec::new(),
            target_kinds: vec!["namespace".into()],
            targets: None,
            opposite: None,
            settle: Span::ZERO,
            timeout: self.config.timeout,
            revertible: true,
            cost: Cost { disruption: Span::ZERO, energy_joules: self.config.energy_joules, ..Cost::default() },
            doc: "Backs up a namespace and waits until the backup is complete.".into(),
        };
        let restore = VerbSpec {
            verb: RESTORE.into(),
            // What it brings back cannot be told from what was there, and `update` overwrites: nothing takes that back.
            class: Class::Irreversible,
            args: vec![
                arg("backup", ArgKind::Text(253), true, "The backup's name."),
                arg("into", ArgKind::Text(63), false, "Another namespace to bring it back into."),
                arg(
                    "existing",
                    ArgKind::OneOf(vec!["none".into(), "update".into()]),
                    false,
                    "What happens to what is there: left alone (none, if not given) or overwritten (update).",
                ),
            ],
            revertible: false,
            cost: Cost { disruption: self.config.timeout, energy_joules: self.config.energy_joules, ..Cost::default() },
            doc: "Brings a namespace back from a complete backup.".into(),
            ..backup.clone()
        };
        let verbs = if self.config.restore { vec![backup, restore] } else { vec![backup] };
        ActuatorSpec { id: "velero".into(), verbs }
    }

    fn needs(&self) -> Vec<Needs> {
        let backup = vec![
            Rule::of(&LOCATIONS, "", &["get"], "to see whether the storage is available"),
            Rule::of(&BACKUPS, "", &["create", "get"], "to make backups and see them complete"),
            Rule::of(&DELETIONS, "", &["create", "get"], "to take a backup back"),
        ];
        let restore = vec![
            Rule::of(&BACKUPS, "", &["get"], "to see whether the backup is complete"),
            Rule::of(&RESTORES, "", &["create", "get"], "to bring a backup back"),
        ];
        let mut needs =
            vec![Needs { verb: Verb::from(BACKUP), kinds: vec![(BACKUPS, ""), (LOCATIONS, ""), (DELETIONS, "")], rules: backup }];
        if self.config.restore {
            needs.push(Needs { verb: Verb::from(RESTORE), kinds: vec![(BACKUPS, ""), (RESTORES, "")], rules: restore });
        }
        needs
    }

    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault> {
        let text = |name: &str| action.args.get(name).and_then(Arg::as_text);
        let written = text("into").unwrap_or(action.target.name());
        let names = [Some(action.target.name()), text("backup"), text("into")];
        let mut problem = names.into_iter().flatten().find_map(name_problem);
        if action.verb.as_str() == RESTORE {
            problem = problem.or_else(|| client.namespace_problem(written));
        }
        let doing = || format!("check {} {} on {}", action.id, action.verb, action.target);
        problem.map_or(Ok(()), |problem| Err(Fault::new(FaultCode::Malformed, doing(), problem)))
    }

    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault> {
        let ground = if action.verb.as_str() == BACKUP {
            Call::get(LOCATIONS.path(&self.config.namespace, &self.config.storage_location))
        } else {
            let name = action.args.get("backup").and_then(Arg::as_text).unwrap_or_default();
            Call::get(BACKUPS.path(&self.config.namespace, name))
        };
        let create = self.create(client, action);
        Ok(vec![ground, create.clone().dry(), create, Call::get(self.path(client, action))])
    }

    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.made(run))
    }

    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.probed(run))
    }

    fn back<'a>(&'a self, run: &'a Run<'a>, _receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>> {
        Box::pin(self.taken_back(run))
    }

    fn instead(&self) -> &'static str {
        "what a restore overwrote is gone; make a backup before"
    }
}
