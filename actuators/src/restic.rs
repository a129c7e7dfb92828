//! `restic.backup`, `restic.check`, `restic.restore-test`: backups, and the proof that they can be read back.
//!
//! Runs the configured restic with its JSON output, as [`crate::exec`] runs commands. A snapshot carries the tag of its decision, so a
//! probe finds it in the repository. A repository that is locked is `Conflict`: somebody works there. Deliberately absent: `unlock`,
//! `forget`, `prune`, and restoring anywhere but into a folder of its own below the scratch folder. An editor breaks this by believing
//! an exit status without the summary, or by deleting a folder that was there before.

mod program;
mod scratch;
#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::exec::run::{GRACE_SPAN, alive};
use crate::ledger::{Ledger, Mark, doing, never_started, not_revertible, probing};
use crate::pace::Pace;
use crate::rest::{ended, fault_of, unsure};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret, Span, Target, Time, Verb,
    VerbSpec,
};
use program::Program;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest timeout that can be configured.
const TIMEOUT_MAX: Span = Span::from_hours(24);

/// A restic repository and what is backed up into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResticConfig {
    /// The program; 0.17 or newer.
    #[serde(default = "program_default")]
    pub program: String,
    /// The repository, as `RESTIC_REPOSITORY` takes it.
    #[schemars(with = "String")]
    pub repository: Secret,
    /// Its password.
    #[schemars(with = "String")]
    pub password: Secret,
    /// More environment, such as `AWS_SECRET_ACCESS_KEY`. Nothing is inherited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Secret>,
    /// The backups, by name; `photos` becomes the target `backup/photos`.
    pub backups: BTreeMap<String, BackupConfig>,
    /// How much of the data a check reads, such as `2.5%`; structure only if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_data_subset: Option<String>,
    /// Where a restore test may write: an existing folder, used for nothing else. Without it there is no `restic.restore-test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<PathBuf>,
    /// The largest snapshot that is restored for a test, in bytes.
    #[serde(default = "bytes_default")]
    pub restore_bytes_max: u64,
    /// How long one of them may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupConfig {
    /// What is backed up: absolute paths.
    pub paths: Vec<PathBuf>,
    /// Patterns that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

fn program_default() -> String {
    "restic".into()
}
fn bytes_default() -> u64 {
    1 << 30
}
fn timeout_default() -> Span {
    Span::from_hours(2)
}

/// What can be done.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Deed {
    Backup,
    Check,
    RestoreTest,
}

/// The actuator `restic`.
#[derive(Debug)]
pub struct Restic {
    config: ResticConfig,
    verbs: Vec<(Deed, VerbSpec)>,
    backups: BTreeMap<Target, BackupConfig>,
    journal_id: String,
    ledger: Arc<Ledger>,
}

impl Restic {
    /// Checks the configuration and builds; starts nothing. Every problem is listed. `journal_id` stands in the snapshots' tags.
    pub fn new(config: &ResticConfig, ledger: Arc<Ledger>, journal_id: &str) -> Result<Restic, Vec<Fault>> {
        let problems = problems(config);
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `restic`", text)).collect());
        }
        let backups: BTreeMap<Target, BackupConfig> =
            config.backups.iter().map(|(name, backup)| (Target::from(format!("backup/{name}")), backup.clone())).collect();
        let targets: Vec<Target> = backups.keys().cloned().collect();
        let deeds = [Deed::Backup, Deed::Check, Deed::RestoreTest].into_iter();
        let possible = deeds.filter(|deed| *deed != Deed::RestoreTest || config.scratch.is_some());
        let verbs = possible.map(|deed| (deed, spec(deed, config, targets.clone()))).collect();
        Ok(Restic { config: config.clone(), verbs, backups, journal_id: journal_id.into(), ledger })
    }

    /// The same: a process takes real time at any pace.
    #[must_use]
    pub fn paced(self, _pace: Pace) -> Restic {
        self
    }

    fn task(&self, action: &Action) -> Result<(Deed, &VerbSpec, &BackupConfig), Fault> {
        let specs = || self.verbs.iter().map(|(_, spec)| spec);
        let (deed, spec) = self.verbs.iter().find(|(_, spec)| spec.verb == action.verb).ok_or_else(|| unknown_verb(action, specs()))?;
        check_against(spec, action)?;
        let missing = || Fault::new(FaultCode::NotFound, format!("check {} {}", action.id, action.verb), format!("no `{}`", action.target));
        Ok((*deed, spec, self.backups.get(&action.target).ok_or_else(missing)?))
    }

    fn decision(&self, action: &Action) -> String {
        format!("homeostat:{}-{}", self.journal_id, action.id)
    }

    /// The tag that all snapshots of one backup have.
    fn name_tag(action: &Action) -> String {
        format!("homeostat-backup:{}", action.target.name())
    }

    fn backup_args(&self, action: &Action, backup: &BackupConfig) -> Vec<String> {
        let mut args = vec!["backup".to_owned(), "--tag".into(), self.decision(action), "--tag".into(), Self::name_tag(action)];
        args.extend(backup.exclude.iter().map(|pattern| format!("--exclude={pattern}")));
        args.push("--".into());
        args.extend(backup.paths.iter().map(|path| path.display().to_string()));
        args
    }

    fn check_args(&self) -> Vec<String> {
        let subset = self.config.read_data_subset.iter().map(|subset| format!("--read-data-subset={subset}"));
        std::iter::once("check".to_owned()).chain(subset).collect()
    }

    fn find_args(tag: &str) -> Vec<String> {
        ["snapshots", "--latest", "1", "--tag", tag].map(str::to_owned).into()
    }

    fn restore_args(snapshot: &str, to: &str) -> Vec<String> {
        ["restore", snapshot, "--target", to, "--verify"].map(str::to_owned).into()
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let (deed, spec, backup) = match self.task(action) {
            Ok(task) => task,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let within = action.timeout.min(spec.timeout).to_std();
        let program = match Program::new(&self.config, &doing, within) {
            Ok(program) => program,
            Err(problem) => return never_started(doing, problem),
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let noting = program.noting(&self.ledger, mark);
        let outcome = match deed {
            Deed::Backup => self.backup(&noting, action, backup).await,
            Deed::Check => self.check_all(&noting).await,
            Deed::RestoreTest => self.restore_test(&noting, action).await,
        };
        self.ledger.settle(mark, ended(outcome))
    }

    async fn backup(&self, program: &Program<'_>, action: &Action, backup: &BackupConfig) -> Result<Receipt, Outcome> {
        let said = program.run(&self.backup_args(action, backup), true).await?;
        let Some(summary) = said.message("summary").filter(|summary| summary["snapshot_id"].is_string()) else {
            return Err(program.unknown(FaultCode::Malformed, format!("no summary with a snapshot came back: {}", said.end)));
        };
        let number = |name: &str| summary[name].as_u64().unwrap_or_default();
        let (id, files) = (summary["snapshot_id"].as_str().unwrap_or_default(), number("total_files_processed"));
        let observed =
            format!("snapshot {id}: {files} files, {} bytes read, {} bytes added", number("total_bytes_processed"), number("data_added"));
        Ok(Receipt { observed, undo: BTreeMap::new() })
    }

    async fn check_all(&self, program: &Program<'_>) -> Result<Receipt, Outcome> {
        let said = program.run(&self.check_args(), false).await?;
        let errors = said.message("summary").and_then(|summary| summary["num_errors"].as_u64());
        if errors.is_some_and(|errors| errors > 0) || (errors.is_none() && !said.all.contains("no errors were found")) {
            return Err(program.not_done(FaultCode::Failed, format!("the repository was not found in order: {}", said.end)));
        }
        Ok(Receipt { observed: "the repository has no errors".into(), ..Receipt::default() })
    }

    async fn restore_test(&self, program: &Program<'_>, action: &Action) -> Result<Receipt, Outcome> {
        let snapshot = self.latest(program, &Self::name_tag(action)).await?;
        let Some(snapshot) = snapshot else {
            return Err(program.not_done(FaultCode::NotFound, format!("there is no snapshot of `{}` made here", action.target.name())));
        };
        let stats = program.run(&["stats", "--mode", "restore-size", &snapshot].map(str::to_owned), false).await?;
        let stats = stats.first().unwrap_or_default();
        let (Some(bytes), Some(files)) = (stats["total_size"].as_u64(), stats["total_file_count"].as_u64()) else {
            return Err(program.not_done(FaultCode::Malformed, "the snapshot's size could not be read"));
        };
        if bytes > self.config.restore_bytes_max || files == 0 {
            let detail = format!("snapshot {snapshot} holds {bytes} bytes in {files} files, allowed are {}", self.config.restore_bytes_max);
            return Err(program.not_done(FaultCode::Limit, detail));
        }
        let parent = self.config.scratch.clone().unwrap_or_default();
        let folder = scratch::Folder::make(&parent, &format!("homeostat-{}-{}", self.journal_id, action.id)).map_err(|error| {
            program.not_done(FaultCode::Failed, format!("no folder for the restore below {}: {error}", parent.display()))
        })?;
        let said = program.run(&Self::restore_args(&snapshot, &folder.path().display().to_string()), false).await.map_err(scratch_only)?;
        let found = folder.measure(self.config.restore_bytes_max).map_err(|error| program.not_done(FaultCode::Failed, error))?;
        let summary = said.message("summary").unwrap_or_default();
        let restored = (summary["files_restored"].as_u64(), summary["bytes_restored"].as_u64());
        // `files_restored` counts folders too; bytes and what lies on the disk are what must agree.
        if restored.1 != Some(bytes) || found.bytes != bytes || found.files == 0 {
            let detail = format!(
                "snapshot {snapshot} holds {bytes} bytes; restored {restored:?}, on the disk {} in {} files",
                found.bytes, found.files
            );
            return Err(program.not_done(FaultCode::Failed, detail));
        }
        let observed = format!("snapshot {snapshot} was restored and verified: {} files, {bytes} bytes", found.files);
        Ok(Receipt { observed, ..Receipt::default() })
    }

    /// The newest snapshot with this tag.
    async fn latest(&self, program: &Program<'_>, tag: &str) -> Result<Option<String>, Outcome> {
        let said = program.run(&Self::find_args(tag), false).await?;
        let Some(list) = said.first().filter(serde_json::Value::is_array) else {
            return Err(program.not_done(FaultCode::Malformed, format!("the list of snapshots could not be read: {}", said.end)));
        };
        let newest = list.as_array().into_iter().flatten().max_by_key(|one| one["time"].as_str().unwrap_or_default().to_owned());
        Ok(newest.and_then(|one| one["id"].as_str()).map(str::to_owned))
    }

    async fn look(&self, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let doing = probing(action);
        let unknown = |code, detail: String| Outcome::Unknown(Fault::new(code, &doing, detail));
        if let Some(pid) = alive(&started.notes) {
            return unknown(FaultCode::Conflict, format!("it still runs as process {pid}"));
        }
        match self.task(action) {
            Ok((Deed::Backup, ..)) => {}
            Ok(_) => return unknown(FaultCode::Conflict, "it was started; nobody saw how it ended, and it changed nothing".into()),
            Err(fault) => return Outcome::Unknown(fault),
        }
        let program = match Program::new(&self.config, &doing, Duration::from_secs(60)) {
            Ok(program) => program,
            Err(problem) => return unknown(FaultCode::Failed, problem),
        };
        match self.latest(&program, &self.decision(action)).await {
            Ok(Some(id)) => Outcome::Done(Receipt { observed: format!("snapshot {id} is in the repository"), ..Receipt::default() }),
            Ok(None) => program.not_done(FaultCode::Failed, "the repository holds no snapshot of this decision"),
            Err(outcome) => unsure(outcome),
        }
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let asked = async {
            let program = Program::new(&self.config, "ask the restic repository", Duration::from_secs(60))
                .map_err(|problem| never_started("ask the restic repository", problem))?;
            program.run(&["cat", "config"].map(str::to_owned), false).await.map(drop)
        };
        let mut faults = Vec::new();
        if let Some(fault) = asked.await.err().and_then(fault_of) {
            faults.extend(self.verbs.iter().map(|(_, spec)| (spec.verb.clone(), fault.clone())));
        }
        let test = self.verbs.iter().find(|(deed, _)| *deed == Deed::RestoreTest);
        if let (Some(dir), Some((_, spec))) = (self.config.scratch.as_ref().filter(|dir| !dir.is_dir()), test) {
            let detail = format!("`scratch` {} is not a folder: make it and let this user write there", dir.display());
            faults.push((spec.verb.clone(), Fault::new(FaultCode::NotFound, "look for the scratch folder", detail)));
        }
        faults
    }
}

/// A restore that failed or was killed has written into its own folder only, which is gone: nothing was done to the world.
fn scratch_only(outcome: Outcome) -> Outcome {
    crate::rest::certain(outcome)
}

fn problems(config: &ResticConfig) -> Vec<String> {
    let mut problems = Vec::new();
    if config.program.is_empty() || config.timeout <= Span::ZERO || config.timeout > TIMEOUT_MAX {
        problems.push(format!("`program` must be given, and `timeout` be more than 0s and at most {TIMEOUT_MAX}"));
    }
    if config.backups.is_empty() {
        problems.push("`backups` is empty".into());
    }
    for (name, backup) in &config.backups {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !plain || backup.paths.is_empty() || backup.paths.iter().any(|path| !path.is_absolute()) {
            problems.push(format!("backup `{name}`: expected a name of letters, digits, `-` and `_`, and absolute `paths`"));
        }
    }
    if config.env.keys().any(|name| name.is_empty() || name.contains(['=', '\0']) || name.starts_with("RESTIC_")) {
        problems.push("`env` holds a name with `=`, or one beginning with `RESTIC_`".into());
    }
    if config.scratch.as_ref().is_some_and(|dir| !dir.is_absolute() || dir.parent().is_none()) {
        problems.push("`scratch` must be an absolute path, and not `/`".into());
    }
    let percent =
        |text: &String| text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()).is_some_and(|n| n > 0.0 && n <= 100.0);
    if config.read_data_subset.as_ref().is_some_and(|subset| !percent(subset)) {
        problems.push("`read_data_subset` must be a percentage such as `2.5%`".into());
    }
    problems
}

impl Actuator for Restic {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "restic".into(), verbs: self.verbs.iter().map(|(_, spec)| spec.clone()).collect() }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.task(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let (deed, _, backup) = self.task(action)?;
        let steps = match deed {
            Deed::Backup => vec![(self.backup_args(action, backup), true)],
            Deed::Check => vec![(self.check_args(), false)],
            Deed::RestoreTest => {
                let folder = self.config.scratch.clone().unwrap_or_default().join(format!("homeostat-{}-{}", self.journal_id, action.id));
                vec![
                    (Self::find_args(&Self::name_tag(action)), false),
                    (["stats", "--mode", "restore-size", "<snapshot>"].map(str::to_owned).into(), false),
                    (Self::restore_args("<snapshot>", &folder.display().to_string()), true),
                ]
            }
        };
        let planned = |(args, writes): (Vec<String>, bool)| Planned {
            call: format!("{} --json {}", self.config.program, args.join(" ")),
            body: None,
            writes,
        };
        Ok(steps.into_iter().map(planned).collect())
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action))
    }

    fn probe<'a>(&'a self, _now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(action))
    }

    fn revert<'a>(&'a self, _now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async { not_revertible(action, "a snapshot is kept, and a test leaves nothing behind") })
    }
}

fn spec(deed: Deed, config: &ResticConfig, targets: Vec<Target>) -> VerbSpec {
    let (name, energy_joules, doc) = match deed {
        Deed::Backup => ("restic.backup", 20_000.0, "Makes a snapshot."),
        Deed::Check => ("restic.check", 10_000.0, "Checks the repository."),
        Deed::RestoreTest => {
            ("restic.restore-test", 20_000.0, "Restores the newest snapshot into a scratch folder, compares, and removes it.")
        }
    };
    VerbSpec {
        verb: name.into(),
        class: Class::Restore,
        args: Vec::new(),
        target_kinds: vec!["backup".into()],
        targets: Some(targets),
        opposite: None,
        settle: Span::ZERO,
        timeout: config.timeout + GRACE_SPAN,
        revertible: false,
        cost: Cost { disruption: Span::ZERO, energy_joules, ..Cost::default() },
        doc: doc.into(),
    }
}
