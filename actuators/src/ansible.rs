//! `ansible.run`: a listed playbook by ansible-runner, tried with `--check --diff` before it is meant.
//!
//! Every run has a folder of its own below `work`, named by the decision: extra variables as a JSON file, `project` and `inventory` as
//! links, the runner's artifacts. Success is rc 0 *and* a last event that counts no failed and no unreachable host. Deliberately absent:
//! playbooks that are not listed, variables that are not listed, anything on the command line. An editor breaks this by believing rc
//! alone, or by calling a killed run `NotDone`.

mod artifacts;
#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::exec::PATH_DEFAULT;
use crate::exec::run::{self, Ended, GRACE_SPAN, Launch, alive};
use crate::ledger::{Ledger, Mark, doing, never_started, not_revertible, probing};
use crate::pace::Pace;
use crate::redact::Redactor;
use crate::rest::ended;
use artifacts::{Folder, Told};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret,
    Span, Target, Time, Verb, VerbSpec,
};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many variables an action may set.
const VARS_MAX: usize = 20;
/// How much of the output's end is quoted.
const TAIL_CHARS_MAX: usize = 500;
/// The longest timeout that can be configured.
const TIMEOUT_MAX: Span = Span::from_hours(24);

/// The playbooks that may be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnsibleConfig {
    /// The program; 2.x.
    #[serde(default = "program_default")]
    pub program: String,
    /// The folder with `project/` (the playbooks) and `inventory/`.
    pub data_dir: PathBuf,
    /// A folder for the runs' own files; the newest twenty runs are kept.
    pub work_dir: PathBuf,
    /// The playbooks, by name; `patch` becomes the target `playbook/patch`.
    pub playbooks: BTreeMap<String, AnsiblePlayConfig>,
    /// The environment, such as `HOME` or `ANSIBLE_VAULT_PASSWORD_FILE`. Nothing is inherited; the values are taken out of what is shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Secret>,
    /// How much they can hurt: the worst of them.
    #[serde(default = "class_default")]
    #[schemars(with = "String")]
    pub class: Class,
    /// How long the check and the run together may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How long the hosts need afterwards before symptoms mean anything again.
    #[serde(default)]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// One playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnsiblePlayConfig {
    /// The file, inside `project/`: `site.yml`.
    pub playbook: String,
    /// The variables an action may set, each with the regular expression that its whole value must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// The playbook that takes it back; it gets the same variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert_playbook: Option<String>,
}

fn program_default() -> String {
    "ansible-runner".into()
}
fn class_default() -> Class {
    Class::Disruptive
}
fn timeout_default() -> Span {
    Span::from_mins(30)
}

#[derive(Debug)]
struct Play {
    config: AnsiblePlayConfig,
    patterns: BTreeMap<String, Regex>,
}

/// The actuator `ansible`.
#[derive(Debug)]
pub struct Ansible {
    config: AnsibleConfig,
    plays: BTreeMap<Target, Play>,
    spec: VerbSpec,
    journal_id: String,
    ledger: Arc<Ledger>,
}

/// What stays the same over the check and the run.
struct Effort<'a> {
    doing: &'a str,
    env: BTreeMap<String, String>,
    redactor: Redactor,
    deadline: Instant,
    mark: Mark,
}

impl Effort<'_> {
    fn not_done(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::NotDone(Fault::new(code, self.doing, detail))
    }
    fn unknown(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::Unknown(Fault::new(code, self.doing, detail))
    }
}

impl Ansible {
    /// Checks the configuration and builds; starts nothing. Every problem is listed. `journal_id` stands in the runs' names.
    pub fn new(config: &AnsibleConfig, ledger: Arc<Ledger>, journal_id: &str) -> Result<Ansible, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.timeout <= Span::ZERO || config.timeout > TIMEOUT_MAX || config.program.is_empty() || config.playbooks.is_empty() {
            problems.push(format!("`program` and `playbooks` must be given; `timeout` be more than 0s and at most {TIMEOUT_MAX}"));
        }
        if !config.data_dir.is_absolute() || !config.work_dir.is_absolute() || config.work_dir.starts_with(&config.data_dir) {
            problems.push("`data_dir` and `work_dir` must be absolute paths, the second outside of the first".into());
        }
        let mut plays = BTreeMap::new();
        for (name, play) in &config.playbooks {
            let mut patterns = BTreeMap::new();
            for (var, pattern) in &play.vars {
                match Regex::new(&format!("^(?:{pattern})$")) {
                    Ok(regex) if is_name(var) => drop(patterns.insert(var.clone(), regex)),
                    Ok(_) => problems.push(format!("playbook `{name}`: `{var}` is not a variable's name")),
                    Err(error) => problems.push(format!("playbook `{name}`: the pattern of `{var}`: {error}")),
                }
            }
            for file in std::iter::once(&play.playbook).chain(&play.revert_playbook) {
                let odd = |part: &str| part.is_empty() || part == ".." || part.starts_with('-');
                if file.split('/').any(odd) || !(file.ends_with(".yml") || file.ends_with(".yaml")) {
                    problems.push(format!("playbook `{name}`: `{file}` is not a `.yml` inside `project/`"));
                }
            }
            plays.insert(Target::from(format!("playbook/{name}")), Play { config: play.clone(), patterns });
        }
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `ansible`", text)).collect());
        }
        let spec = run_spec(config, plays.keys().cloned().collect());
        Ok(Ansible { config: config.clone(), plays, spec, journal_id: journal_id.into(), ledger })
    }

    /// The same: a process takes real time at any pace.
    #[must_use]
    pub fn paced(self, _pace: Pace) -> Ansible {
        self
    }

    fn play(&self, action: &Action) -> Result<(&Play, BTreeMap<String, String>), Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)?;
        let refuse = |code, detail: String| Fault::new(code, format!("check {} {}", action.id, action.verb), detail);
        let play = self.plays.get(&action.target).ok_or_else(|| refuse(FaultCode::NotFound, format!("no `{}`", action.target)))?;
        let mut vars = BTreeMap::new();
        if let Some(Arg::Map(map)) = action.args.get("vars") {
            for (name, value) in map {
                let text = value.as_text().unwrap_or_default();
                let known = || play.config.vars.keys().cloned().collect::<Vec<_>>().join(", ");
                match play.patterns.get(name) {
                    Some(pattern) if pattern.is_match(text) => drop(vars.insert(name.clone(), text.to_owned())),
                    Some(_) => return Err(refuse(FaultCode::Malformed, format!("`{name}` does not match `{}`", play.config.vars[name]))),
                    None => return Err(refuse(FaultCode::Malformed, format!("no variable `{name}`; there are: {}", known()))),
                }
            }
        }
        Ok((play, vars))
    }

    fn ident(&self, mark: Mark) -> String {
        format!("{}-{mark}", self.journal_id)
    }

    fn argv(&self, folder: &Folder, playbook: &str) -> Vec<String> {
        let dir = folder.path().display().to_string();
        [self.config.program.as_str(), "run", &dir, "-p", playbook, "-i", folder.ident(), "--json"].map(str::to_owned).into()
    }

    async fn run(&self, now: Time, action: &Action, mark: Mark, playbook: &str, vars: BTreeMap<String, String>) -> Outcome {
        let doing = doing(mark, action);
        let mut redactor = Redactor::default();
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH_DEFAULT.to_owned())]);
        for (name, secret) in &self.config.env {
            let is_plain = matches!(name.as_str(), "PATH" | "HOME");
            match if is_plain { crate::redact::resolve(secret) } else { redactor.take(secret) } {
                Ok(value) if !value.contains('\0') => drop(env.insert(name.clone(), value)),
                Ok(_) => return never_started(doing, format!("the environment variable `{name}` holds a NUL byte")),
                Err(problem) => return never_started(doing, problem),
            }
        }
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let deadline = Instant::now() + action.timeout.min(self.spec.timeout).to_std();
        let effort = Effort { doing: &doing, env, redactor, deadline, mark };
        let outcome = ended(self.check_then_run(&effort, playbook, &vars).await);
        artifacts::prune(&self.config.work_dir);
        self.ledger.settle(mark, outcome)
    }

    async fn check_then_run(&self, effort: &Effort<'_>, playbook: &str, vars: &BTreeMap<String, String>) -> Result<Receipt, Outcome> {
        let ident = self.ident(effort.mark);
        let make = |ident: &str, is_check: bool| {
            let folder = Folder::make(&self.config.work_dir, ident, &self.config.data_dir, &json!(vars), is_check);
            folder.map_err(|error| never_started(effort.doing, format!("no folder for the run below `work_dir`: {error}")))
        };
        let trial = make(&format!("{ident}-check"), true)?;
        let tried = self.once(effort, &trial, playbook, false).await.map_err(crate::rest::certain)?;
        if !tried.is_good() {
            let detail = format!("nothing was changed, the check failed: {}", effort.redactor.clean_tail(&tried.shown(), TAIL_CHARS_MAX));
            return Err(effort.not_done(FaultCode::Failed, detail));
        }
        let told = self.once(effort, &make(&ident, false)?, playbook, true).await?;
        self.judged(effort, &told)
    }

    fn judged(&self, effort: &Effort<'_>, told: &Told) -> Result<Receipt, Outcome> {
        let shown = effort.redactor.clean_tail(&told.shown(), TAIL_CHARS_MAX);
        match told.rc {
            _ if told.is_good() => Ok(Receipt { observed: shown, undo: [("run".to_owned(), Arg::Text(self.ident(effort.mark)))].into() }),
            254 => Err(effort.unknown(FaultCode::TimedOut, format!("the runner gave up: {shown}"))),
            _ => Err(effort.not_done(FaultCode::Failed, shown)),
        }
    }

    /// One run of the runner. `writes`: whether a kill leaves us in doubt.
    async fn once(&self, effort: &Effort<'_>, folder: &Folder, playbook: &str, writes: bool) -> Result<Told, Outcome> {
        let timeout = effort.deadline.saturating_duration_since(Instant::now());
        if timeout < Duration::from_millis(1) {
            return Err(effort.not_done(FaultCode::TimedOut, "the check took all the time there was; the run was not started"));
        }
        let argv = self.argv(folder, playbook);
        let launch = Launch { argv, env: effort.env.clone(), dir: "/".into(), user: None, timeout };
        let ended = run::run(&launch, |identity| {
            let running = std::iter::once(("running", Arg::Bool(writes)));
            for (name, value) in identity.into_iter().chain(running) {
                if let Err(fault) = self.ledger.note(effort.mark, name, value) {
                    tracing::warn!(%fault, "The run was not noted; a probe after a crash cannot find it.");
                }
            }
        });
        let shown = |tail: &run::Tail| effort.redactor.clean_tail(&tail.text(), TAIL_CHARS_MAX);
        match ended.await {
            Ended::NotStarted(error) if !writes => {
                Err(never_started(effort.doing, format!("`{}` cannot be started: {error}", self.config.program)))
            }
            Ended::NotStarted(error) => Err(effort.not_done(FaultCode::Failed, format!("the run cannot be started: {error}"))),
            Ended::Exited(status, tail) => folder.told().ok_or_else(|| {
                let detail = format!("exit status {status}, and no artifacts that tell how it ended: {}", shown(&tail));
                effort.unknown(FaultCode::Malformed, detail)
            }),
            Ended::Killed(tail) => {
                Err(effort.unknown(FaultCode::TimedOut, format!("killed at its time; it may have had effects: {}", shown(&tail))))
            }
            Ended::Signalled(signal, tail) => Err(effort.unknown(FaultCode::Failed, format!("ended by signal {signal}: {}", shown(&tail)))),
            Ended::Lost(error) => Err(effort.unknown(FaultCode::Internal, format!("its end could not be seen: {error}"))),
        }
    }

    fn look(&self, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let doing = probing(action);
        let mark = Mark::Apply(action.id);
        let effort = Effort { doing: &doing, env: BTreeMap::new(), redactor: Redactor::default(), deadline: Instant::now(), mark };
        if let Some(pid) = alive(&started.notes) {
            return effort.unknown(FaultCode::Conflict, format!("it still runs as process {pid}"));
        }
        match Folder::of(&self.config.work_dir, &self.ident(mark)).told() {
            Some(told) => ended(self.judged(&effort, &told)),
            None if started.notes.get("running") == Some(&Arg::Bool(true)) => {
                effort.unknown(FaultCode::Conflict, "it was started; nobody saw how it ended")
            }
            None => effort.not_done(FaultCode::Failed, "only the check was begun; nothing was changed"),
        }
    }

    fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let mut missing = Vec::new();
        for part in ["project", "inventory"] {
            if !self.config.data_dir.join(part).exists() {
                missing.push(format!("there is no `{part}` in {}", self.config.data_dir.display()));
            }
        }
        for play in self.plays.values() {
            for file in std::iter::once(&play.config.playbook).chain(&play.config.revert_playbook) {
                if !self.config.data_dir.join("project").join(file).is_file() {
                    missing.push(format!("there is no playbook `{file}` in project/"));
                }
            }
        }
        let path = self.config.env.get("PATH").and_then(|secret| crate::redact::resolve(secret).ok()).unwrap_or(PATH_DEFAULT.into());
        let program = &self.config.program;
        let found = program.contains('/') && PathBuf::from(program).is_file()
            || !program.contains('/') && path.split(':').any(|dir| PathBuf::from(dir).join(program).is_file());
        if !found {
            missing.push(format!("`{program}` is not there: install ansible-runner, or give `program` and `env.PATH`"));
        }
        if missing.is_empty() {
            return Vec::new();
        }
        vec![(self.spec.verb.clone(), Fault::new(FaultCode::NotFound, "look for the playbooks", missing.join("; ")))]
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Actuator for Ansible {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "ansible".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.play(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let (play, vars) = self.play(action)?;
        let ident = self.ident(Mark::Apply(action.id));
        let step = |ident: String, writes: bool| {
            let argv = self.argv(&Folder::of(&self.config.work_dir, &ident), &play.config.playbook).join(" ");
            let body = if writes { json!({ "extravars": vars }) } else { json!({ "extravars": vars, "cmdline": artifacts::CHECK }) };
            Planned { call: argv, body: Some(body.to_string()), writes }
        };
        Ok(vec![step(format!("{ident}-check"), false), step(ident, true)])
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(async { self.is_ready() })
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let mark = Mark::Apply(action.id);
            match self.play(action) {
                Ok((play, vars)) => self.run(now, action, mark, &play.config.playbook, vars).await,
                Err(fault) => never_started(doing(mark, action), fault.detail),
            }
        })
    }

    fn probe<'a>(&'a self, _now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(async { self.look(action) })
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let mark = Mark::Revert(action.id);
            match self.play(action) {
                Ok((play, vars)) => match &play.config.revert_playbook {
                    Some(_) if !receipt.undo.contains_key("run") => never_started(doing(mark, action), "the receipt names no run"),
                    Some(playbook) => self.run(now, action, mark, playbook, vars).await,
                    None => not_revertible(action, "its configuration has no `revert_playbook`"),
                },
                Err(fault) => never_started(doing(mark, action), fault.detail),
            }
        })
    }
}

fn run_spec(config: &AnsibleConfig, targets: Vec<Target>) -> VerbSpec {
    VerbSpec {
        verb: "ansible.run".into(),
        class: config.class,
        args: vec![ArgSpec {
            name: "vars".into(),
            kind: ArgKind::TextMap(VARS_MAX),
            required: false,
            doc: "Extra variables; the playbook's configuration lists which.".into(),
        }],
        target_kinds: vec!["playbook".into()],
        targets: Some(targets),
        opposite: None,
        settle: config.settle,
        timeout: config.timeout + GRACE_SPAN,
        revertible: config.playbooks.values().all(|play| play.revert_playbook.is_some()),
        cost: Cost { disruption: Span::from_mins(1), energy_joules: 1_000.0, ..Cost::default() },
        doc: "Runs a listed Ansible playbook after a check of it went well.".into(),
    }
}
