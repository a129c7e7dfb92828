//! The plug traits: what a sensor and an actuator are. None of them sees the kernel.
//!
//! A sensor fills an [`Observation`] and never fails as a whole. An actuator says what it knows: `apply` is idempotent by action
//! id and refuses an expired lease; `probe` tells whether it is true; `revert` takes it back. Panics in either are caught by the
//! daemon and stop only that plug.

use crate::{Action, ActuatorId, Args, Class, Fault, Observation, Outcome, Receipt, SensorId, Span, Time, Verb};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that the traits are object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the daemon needs to know to run a sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorSpec {
    /// Its name.
    pub id: SensorId,
    /// Its kind, as in the configuration: `exposition`, `host` …
    pub kind: String,
    /// How often it reads.
    pub interval: Span,
    /// How long one read may take.
    pub timeout: Span,
    /// What it reads, without credentials.
    pub source: String,
}

/// A source of samples.
pub trait Sensor: Send {
    /// What it is.
    fn spec(&self) -> SensorSpec;
    /// Reads once. `into` comes reset, with `sensor`, `at` and `interval` set; the sensor fills the rest. Must be cancel-safe: the
    /// daemon drops the future at the timeout and reports a blind read; the next read must still be right.
    fn read<'a>(&'a mut self, at: Time, into: &'a mut Observation) -> BoxFuture<'a, ()>;
}

/// The kind of an argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgKind {
    /// true or false
    Bool,
    /// a whole number between the two, both included
    Int(i64, i64),
    /// a number between the two, both included
    Float(f64, f64),
    /// text of at most this many bytes
    Text(usize),
    /// one of these texts
    OneOf(Vec<String>),
    /// a map of at most this many texts
    TextMap(usize),
}

/// One argument of a verb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArgSpec {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ArgKind,
    /// Whether it must be given.
    pub required: bool,
    /// What it means, with its unit.
    pub doc: String,
}

/// One thing an actuator can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerbSpec {
    /// `actuator.verb`.
    pub verb: Verb,
    /// How much it can hurt.
    pub class: Class,
    /// Its arguments.
    pub args: Vec<ArgSpec>,
    /// Target kinds it accepts; empty: any.
    pub target_kinds: Vec<String>,
    /// The targets it knows; `None`: any.
    pub targets: Option<Vec<crate::Target>>,
    /// The verb that does the opposite.
    pub opposite: Option<Verb>,
    /// How long the target needs before its symptoms mean anything again.
    pub settle: Span,
    /// How long `apply` may take.
    pub timeout: Span,
    /// Whether `revert` can take it back.
    pub revertible: bool,
    /// What one of it is expected to cost; for budgets.
    #[serde(default)]
    pub cost: Cost,
    /// What it does, in one sentence.
    pub doc: String,
}

/// What one action is expected to cost.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// How long somebody is interrupted.
    pub disruption: Span,
    /// Energy, in joules: a boot, a backup.
    pub energy_joules: f64,
    /// Boots of a machine.
    pub boots: u32,
    /// Pods that are evicted.
    pub evictions: u32,
    /// Times that a machine's disks lose their power.
    pub power_cycles: u32,
}

/// One thing that `apply` would send or run. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The request line, the command, the packet: `PATCH https://kube.lan:6443/apis/apps/v1/…/scale`.
    pub call: String,
    /// The body, as it would be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether it changes anything; reads and server-side dry runs do not.
    pub writes: bool,
}

/// What an actuator can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActuatorSpec {
    /// Its name.
    pub id: ActuatorId,
    /// Its verbs.
    pub verbs: Vec<VerbSpec>,
}

/// A power to act.
pub trait Actuator: Send + Sync {
    /// What it can do.
    fn spec(&self) -> ActuatorSpec;
    /// Whether this action can be done at all, by looking at it only. No IO.
    fn check(&self, action: &Action) -> Result<(), Fault>;
    /// What `apply` would send, in order, by looking at the action only. No IO, no client, no secret: this is the dry run.
    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        self.check(action)?;
        Ok(Vec::new())
    }
    /// Whether the other side is there, knows what is needed and lets us: one fault per verb that cannot be done, saying what is
    /// missing and who can add it. Reads only. Empty: all is well.
    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(async { Vec::new() })
    }
    /// Does it, at most once per id, not after the lease. `now` is the moment of the call.
    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome>;
    /// Tells whether it is done. `NotDone` with [`crate::FaultCode::NeverStarted`] means that nothing has left this machine,
    /// with [`crate::FaultCode::HalfDone`] that a part was done and stays until `revert`. It changes nothing itself.
    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome>;
    /// Takes it back.
    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome>;
}

impl VerbSpec {
    /// Checks arguments against the schema; every problem is listed.
    pub fn check_args(&self, args: &Args) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        for name in args.keys() {
            if !self.args.iter().any(|spec| &spec.name == name) {
                let known: Vec<&str> = self.args.iter().map(|spec| spec.name.as_str()).collect();
                problems.push(format!("`{}` has no argument `{name}` (it has: {})", self.verb, known.join(", ")));
            }
        }
        for spec in &self.args {
            match args.get(&spec.name) {
                None if spec.required => problems.push(format!("`{}` needs the argument `{}` ({})", self.verb, spec.name, spec.doc)),
                None => {}
                Some(arg) => problems.extend(spec.problem(arg)),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl ArgSpec {
    fn problem(&self, arg: &crate::Arg) -> Option<String> {
        use crate::Arg;
        let name = &self.name;
        match (&self.kind, arg) {
            (ArgKind::Bool, Arg::Bool(_)) => None,
            (ArgKind::Int(low, high), Arg::Int(value)) if low <= value && value <= high => None,
            (ArgKind::Int(low, high), Arg::Int(value)) => Some(format!("`{name}` is {value}, expected {low} to {high}")),
            (ArgKind::Float(low, high), Arg::Float(value)) if low <= value && value <= high => None,
            (ArgKind::Float(low, high), Arg::Int(value)) if *low <= *value as f64 && *value as f64 <= *high => None,
            (ArgKind::Float(low, high), Arg::Float(value)) => Some(format!("`{name}` is {value}, expected {low} to {high}")),
            (ArgKind::Text(bytes_max), Arg::Text(text)) if text.len() <= *bytes_max => None,
            (ArgKind::Text(bytes_max), Arg::Text(text)) => {
                Some(format!("`{name}` has {} bytes, at most {bytes_max} are allowed", text.len()))
            }
            (ArgKind::OneOf(known), Arg::Text(text)) if known.contains(text) => None,
            (ArgKind::OneOf(known), Arg::Text(text)) => Some(format!("`{name}` is `{text}`, expected one of: {}", known.join(", "))),
            (ArgKind::TextMap(len_max), Arg::Map(map)) if map.len() <= *len_max && map.values().all(|v| v.as_text().is_some()) => None,
            (ArgKind::TextMap(len_max), Arg::Map(_)) => Some(format!("`{name}` must be a map of at most {len_max} texts")),
            (kind, arg) => Some(format!("`{name}` is a {}, expected {kind:?}", arg.kind())),
        }
    }
}
