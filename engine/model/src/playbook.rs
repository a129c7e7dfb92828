//! Playbooks: checked graphs of actions, and what can happen to one execution of them.
//!
//! A playbook is a verb to everybody else (`playbook.<name>`): it is wished, ruled and scored like any action, and its steps are
//! actions of their own with [`crate::Origin::Playbook`]. Deliberately absent: reading YAML (the daemon), checking (the kernel),
//! running. An editor breaks this by changing what a template or a default means: running playbooks are read back from the journal.

use crate::{ActionId, Arg, ArgKind, Args, Relation, Span, Verb};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The actuator part of a playbook's verb.
pub const PLAYBOOK: &str = "playbook";

/// The verb of a step that asks a person; it is answered, never sent.
pub const APPROVE: &str = "playbook.approve";

/// The verb of a step that only waits for its `verify`; it is judged, never sent.
pub const WAIT: &str = "playbook.wait";

/// One playbook, as its YAML file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    /// Its name: the file's name without its ending; the verb is `playbook.<id>`.
    #[serde(default)]
    pub id: String,
    /// What it does, in one sentence.
    pub doc: String,
    /// Target kinds it accepts; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_kinds: Vec<String>,
    /// What the caller may say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// What is done. The order in the file means nothing; `after` does.
    pub steps: Vec<Step>,
    /// How long the target needs after the run before its symptoms mean anything again.
    #[serde(default)]
    pub settle: Span,
    /// The verb that does the opposite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opposite: Option<Verb>,
    /// How long a run may take before it counts as failed.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its kind and range.
    pub kind: ArgKind,
    /// Its value where the caller gives none; without one it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Arg>,
    /// What it means, with its unit.
    pub doc: String,
}

/// One step. Texts of `target`, `args` and `verify` may hold `{target}`, `{target_name}`, `{each}` and `{<parameter>}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, unique in the playbook.
    pub id: String,
    /// What it is for, where that is not plain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The steps that must have ended well, or been skipped, before it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// A Rhai expression over readings, `params` and `steps`; where it is false the step is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What is done. A step has exactly one of `verb` and `approve`, or neither and a `verify`: then it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<Verb>,
    /// The question to a person; the run waits for a yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<String>,
    /// To what.
    #[serde(default = "target_default")]
    pub target: String,
    /// How.
    #[serde(default, skip_serializing_if = "Args::is_empty")]
    pub args: Args,
    /// A Rhai expression that gives texts: the step is done once for each, as `{each}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// How many of them at a time.
    #[serde(default = "one")]
    pub concurrent_max: u32,
    /// How long it may take, its retries and its `verify` included; none: the verb's own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How often it is tried.
    #[serde(default, skip_serializing_if = "Retry::is_default")]
    pub retry: Retry,
    /// What must be true afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// What must be true before it begins and stay true while it runs; where it breaks, the step is taken back at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steady: Vec<Steady>,
    /// How it is taken back.
    #[serde(default, skip_serializing_if = "Undo::is_default")]
    pub undo: Undo,
    /// What happens to the run when it fails.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// How often a step is tried. Only what surely did not happen is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all.
    #[serde(default = "one")]
    pub attempts: u32,
    /// The wait between two of them.
    #[serde(default = "retry_wait_default")]
    pub wait: Span,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: one(), wait: retry_wait_default() }
    }
}

impl Retry {
    fn is_default(&self) -> bool {
        *self == Retry::default()
    }
}

/// A claim in a playbook: exactly one series, on one side of a threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// A selector that names one series.
    pub series: String,
    /// The side.
    pub relation: Relation,
    /// The threshold, in the series' unit.
    pub threshold: f64,
    /// How long it must stay there.
    #[serde(default)]
    pub held: Span,
    /// By when, counted from the moment the step was sent.
    pub within: Span,
}

/// A steady state: the newest sample of exactly one series is on one side of a threshold. What is not known is not steady.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steady {
    /// A selector that names one series.
    pub series: String,
    /// The side.
    pub relation: Relation,
    /// The threshold, in the series' unit.
    pub threshold: f64,
}

/// How a step is taken back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// By the actuator's own `revert`.
    #[default]
    Revert,
    /// Not at all: it leaves nothing that would have to be taken back.
    Nothing,
    /// By another action.
    By(UndoBy),
}

impl Undo {
    fn is_default(&self) -> bool {
        *self == Undo::Revert
    }
}

/// The action that takes a step back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoBy {
    /// What is done.
    pub verb: Verb,
    /// To what.
    #[serde(default = "target_default")]
    pub target: String,
    /// How.
    #[serde(default, skip_serializing_if = "Args::is_empty")]
    pub args: Args,
}

/// What a failed step does to its run.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Everything done so far is taken back, in reverse.
    #[default]
    Undo,
    /// Nothing more is done, and nothing is taken back.
    Stop,
    /// The run goes on without it.
    Continue,
}

/// What happened to a run; the run's state is derived from these and from its steps' actions alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMove {
    /// It begins, with the playbook as it stood then.
    Began {
        /// The playbook.
        playbook: Box<Playbook>,
        /// All parameters, defaults filled in.
        params: Args,
    },
    /// A step begins; `each` has one text per instance (one empty text without `each`).
    Opened {
        /// The step.
        step: String,
        /// Its instances.
        each: Vec<String>,
    },
    /// A step is not needed.
    Skipped {
        /// The step.
        step: String,
        /// Why.
        why: String,
    },
    /// A step ended well.
    Finished {
        /// The step.
        step: String,
    },
    /// A step failed.
    Failed {
        /// The step.
        step: String,
        /// Why.
        why: String,
    },
    /// From now on the run is taken back.
    Undoing {
        /// Why.
        why: String,
    },
    /// One instance of a step was taken back, or needed nothing.
    TakenBack {
        /// The step's action.
        action: ActionId,
        /// What was seen.
        how: String,
    },
    /// One instance of a step could not be taken back.
    NotTakenBack {
        /// The step's action.
        action: ActionId,
        /// Why.
        why: String,
    },
    /// It is over.
    Ended {
        /// In which way.
        end: RunEnd,
        /// Why.
        why: String,
    },
}

impl RunMove {
    /// In words, for journals and timelines.
    pub fn text(&self) -> String {
        match self {
            RunMove::Began { playbook, .. } => format!("{} begins: {} steps", playbook.id, playbook.steps.len()),
            RunMove::Opened { step, each } if each.len() == 1 => format!("step {step} begins"),
            RunMove::Opened { step, each } => format!("step {step} begins for {}: {}", each.len(), each.join(", ")),
            RunMove::Skipped { step, why } => format!("step {step} skipped: {why}"),
            RunMove::Finished { step } => format!("step {step} done"),
            RunMove::Failed { step, why } => format!("step {step} failed: {why}"),
            RunMove::Undoing { why } => format!("is taken back: {why}"),
            RunMove::TakenBack { action, how } => format!("{action} taken back: {how}"),
            RunMove::NotTakenBack { action, why } => format!("{action} NOT taken back: {why}"),
            RunMove::Ended { end, why } => format!("{}: {why}", end.name()),
        }
    }
}

/// How a run ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Everything was done.
    Finished,
    /// What was done has been taken back.
    Undone,
    /// It stopped as its author wished; what was done stays.
    Stopped,
    /// It could not be taken back, or nobody can tell: a person must look. Its targets stay blocked.
    Stuck,
}

impl RunEnd {
    /// The name used in journal, metrics and CLI.
    pub fn name(self) -> &'static str {
        match self {
            RunEnd::Finished => "finished",
            RunEnd::Undone => "undone",
            RunEnd::Stopped => "stopped",
            RunEnd::Stuck => "stuck",
        }
    }
}

impl Playbook {
    /// The verb that runs it.
    pub fn verb(&self) -> Verb {
        Verb::from(format!("{PLAYBOOK}.{}", self.id))
    }

    /// A step by its name.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }
}

fn timeout_default() -> Span {
    Span::from_mins(30)
}
fn target_default() -> String {
    "{target}".into()
}
fn one() -> u32 {
    1
}
fn retry_wait_default() -> Span {
    Span::from_secs(30)
}
