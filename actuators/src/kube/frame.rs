//! What every power on a cluster does alike: the ledger's mark, the checks, the deadline, and what is known when a call is refused.
//!
//! A power is a [`Deed`]; [`Framed`] makes an actuator of it. A [`Run`] is one apply, probe or revert under way: it reads, and it
//! writes only through [`Run::write`], which first puts on disk that something may leave. Deliberately absent: what is done. An
//! editor breaks this by writing around [`Run::write`], or by turning a refusal after a write into `NotDone`.

use super::call::Call;
use super::client::KubeClient;
use super::refusal::Refusal;
use super::rights::{self, Needs};
use crate::args::{check_against, unknown_verb};
use crate::ledger::{Begin, Ledger, Mark, doing, never_started, not_revertible};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, BoxFuture, Fault, FaultCode, Outcome, Planned, Receipt, Span, Time, Verb, VerbSpec,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, sleep};

/// The ledger's note that the first write may have left.
const SENDING: &str = "sending";
/// How much of the reason stands in an annotation.
const REASON_CHARS_MAX: usize = 256;
/// Added to an action's time before its silence counts: the last call may still be under way.
const GRACE: Span = Span::from_secs(30);

/// The annotation with the journal and number of the action that made or changed something.
pub const DECISION: &str = "homeostat/decision";
/// The annotation with the reason.
pub const REASON: &str = "homeostat/reason";
/// The label of all that we create.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// What a power's step gives: what was seen, or the outcome to end with.
pub type Step<T> = Result<T, Outcome>;

/// A power on a cluster.
pub trait Deed: Send + Sync {
    /// Its verbs.
    fn spec(&self) -> ActuatorSpec;
    /// What each verb needs on the server.
    fn needs(&self) -> Vec<Needs>;
    /// What the arguments' schema cannot say. No IO.
    fn check(&self, client: &KubeClient, action: &Action) -> Result<(), Fault>;
    /// The calls that `act` makes, in order, as far as they can be told without a look; what comes from a look stands in `<…>`.
    fn plan(&self, client: &KubeClient, action: &Action) -> Result<Vec<Call>, Fault>;
    /// Does it and sees that it is done.
    fn act<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>>;
    /// Looks whether it is done; writes nothing. [`Run::over`] tells whether it may still be under way.
    fn look<'a>(&'a self, run: &'a Run<'a>) -> BoxFuture<'a, Step<Receipt>>;
    /// Takes it back; called for revertible verbs only.
    fn back<'a>(&'a self, run: &'a Run<'a>, receipt: &'a Receipt) -> BoxFuture<'a, Step<Receipt>>;
    /// What to do instead of taking back what cannot be.
    fn instead(&self) -> &'static str {
        "act again instead"
    }
}

/// One apply, probe or revert under way.
pub struct Run<'a> {
    /// The cluster.
    pub client: &'a KubeClient,
    /// The action.
    pub action: &'a Action,
    /// For `while_doing`.
    pub doing: String,
    /// The end of all waiting.
    pub deadline: Instant,
    /// For a probe: what was noted by the run that is probed.
    pub notes: BTreeMap<String, Arg>,
    /// For a probe: whether the action's time is over.
    pub over: bool,
    ledger: &'a Ledger,
    mark: Mark,
    fresh_notes: Mutex<BTreeMap<String, Arg>>,
    sending: AtomicBool,
    changed: AtomicBool,
}

impl<'a> Run<'a> {
    fn new(frame: (&'a KubeClient, &'a Ledger), action: &'a Action, mark: Mark, doing: String, deadline: Instant) -> Run<'a> {
        let (client, ledger) = frame;
        let (sending, changed) = (AtomicBool::new(false), AtomicBool::new(false));
        Run {
            client,
            action,
            doing,
            deadline,
            notes: BTreeMap::new(),
            over: false,
            ledger,
            mark,
            fresh_notes: Mutex::default(),
            sending,
            changed,
        }
    }

    /// Reads, or asks (dry runs, reviews).
    pub async fn read(&self, call: &Call) -> Result<Value, Refusal> {
        self.client.call(call, self.deadline).await
    }

    /// Reads while waiting: what passes (an API server that restarts) is no answer yet.
    pub async fn glance(&self, call: &Call) -> Result<Option<Value>, Refusal> {
        match self.read(call).await {
            Ok(value) => Ok(Some(value)),
            Err(refusal) if refusal.is_passing() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Writes. That something may leave is on disk before it does.
    ///
    /// # Errors
    /// The outer one ends the run: the mark could not be written, and nothing was sent. The inner one is the server's.
    pub async fn write(&self, call: &Call) -> Step<Result<Value, Refusal>> {
        self.write_by(call, self.deadline).await
    }

    /// The same with an end of its own: cleaning up has time even when the run has none left.
    ///
    /// # Errors
    /// As [`Run::write`].
    pub async fn write_by(&self, call: &Call, deadline: Instant) -> Step<Result<Value, Refusal>> {
        if !self.sending.swap(true, Ordering::SeqCst) {
            self.note(SENDING, Arg::Bool(true))?;
        }
        let result = self.client.call(call, deadline).await;
        if result.as_ref().err().is_none_or(|refusal| !refusal.is_definite()) {
            self.changed.store(true, Ordering::SeqCst);
        }
        Ok(result)
    }

    /// Puts something on disk beside the mark: what an undo needs is noted before the write.
    pub fn note(&self, name: &str, value: Arg) -> Step<()> {
        self.ledger.note(self.mark, name, value.clone()).map_err(|fault| {
            if self.has_changed() { Outcome::Unknown(fault) } else { never_started(self.doing.clone(), fault.to_string()) }
        })?;
        self.fresh_notes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), value);
        Ok(())
    }

    /// What was noted, by this run or the one that is probed.
    pub fn noted(&self, name: &str) -> Option<Arg> {
        let fresh = self.fresh_notes.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        fresh.or_else(|| self.notes.get(name).cloned())
    }

    /// A whole number that was noted.
    pub fn noted_int(&self, name: &str) -> Option<i64> {
        match self.noted(name) {
            Some(Arg::Int(value)) => Some(value),
            _ => None,
        }
    }

    /// A text that was noted.
    pub fn noted_text(&self, name: &str) -> Option<String> {
        self.noted(name).and_then(|value| value.as_text().map(str::to_owned))
    }

    /// Whether somebody has ordered to take this very action back; what cannot be read counts as yes.
    pub fn told_to_stop(&self) -> bool {
        !matches!(self.ledger.look(Mark::Revert(self.action.id)), Ok(Begin::Fresh))
    }

    /// The outcome of a fault that was found before anything was sent.
    pub fn unsent(&self, fault: Fault) -> Outcome {
        never_started(self.doing.clone(), fault.detail)
    }

    /// Whether something was, or may have been, changed.
    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::SeqCst)
    }

    /// The outcome of a refused call: `Unknown` as soon as anything may have been changed.
    pub fn refused(&self, refusal: &Refusal) -> Outcome {
        if self.has_changed() { Outcome::Unknown(refusal.fault(self.doing.clone())) } else { refusal.outcome(self.doing.clone()) }
    }

    /// `NotDone`: the state of things does not allow it, or it is surely not so.
    pub fn not_done(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::NotDone(Fault::new(code, self.doing.clone(), detail))
    }

    /// `Unknown`.
    pub fn unknown(&self, code: FaultCode, detail: impl Into<String>) -> Outcome {
        Outcome::Unknown(Fault::new(code, self.doing.clone(), detail))
    }

    /// The end of a wait in vain: `Unknown` while it may still come, `NotDone` when a probe finds that its time is over.
    pub fn too_late(&self, detail: impl Into<String>) -> Outcome {
        if self.over { self.not_done(FaultCode::TimedOut, detail) } else { self.unknown(FaultCode::TimedOut, detail) }
    }

    /// Waits for the next look; `false` when there is no time for one.
    pub async fn pause(&self) -> bool {
        self.pause_for(self.client.poll()).await
    }

    /// Waits that long in the daemon's time; `false` when the deadline comes before.
    pub async fn pause_for(&self, span: Span) -> bool {
        let wait = self.client.pace().real(span);
        if Instant::now() + wait >= self.deadline {
            return false;
        }
        sleep(wait).await;
        true
    }

    /// What stands in `homeostat/decision`: `<journal>-a<id>`.
    pub fn decision(&self) -> String {
        decision(self.client, self.action)
    }
}

/// What stands in `homeostat/decision`: `<journal>-a<id>`.
pub fn decision(client: &KubeClient, action: &Action) -> String {
    format!("{}-{}", client.journal(), action.id)
}

/// The annotations of everything that is made or changed: decision and reason.
pub fn annotations(client: &KubeClient, action: &Action) -> Value {
    let reason: String = action.because.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
    json!({ DECISION: decision(client, action), REASON: reason })
}

/// An actuator made of a power.
pub struct Framed<D> {
    deed: D,
    spec: ActuatorSpec,
    client: Arc<KubeClient>,
    ledger: Arc<Ledger>,
}

impl<D: Deed> Framed<D> {
    /// Frames a power; nothing is sent.
    pub fn new(deed: D, client: Arc<KubeClient>, ledger: Arc<Ledger>) -> Framed<D> {
        let spec = deed.spec();
        Framed { deed, spec, client, ledger }
    }

    fn verb(&self, action: &Action) -> Result<&VerbSpec, Fault> {
        let verb = self.spec.verbs.iter().find(|verb| verb.verb == action.verb);
        verb.ok_or_else(|| unknown_verb(action, self.spec.verbs.iter()))
    }

    fn checked(&self, action: &Action) -> Result<&VerbSpec, Fault> {
        let verb = self.verb(action)?;
        check_against(verb, action)?;
        self.deed.check(&self.client, action)?;
        Ok(verb)
    }

    fn run<'a>(&'a self, action: &'a Action, mark: Mark, doing: String, allowed: Span) -> Run<'a> {
        Run::new((&self.client, &self.ledger), action, mark, doing, self.client.deadline(allowed))
    }

    async fn applied(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let verb = match self.checked(action) {
            Ok(verb) => verb,
            Err(fault) => return never_started(doing, fault.detail),
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let run = self.run(action, mark, doing, action.timeout.min(verb.timeout));
        let outcome = ended(self.deed.act(&run).await);
        self.ledger.settle(mark, outcome)
    }

    async fn probed(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = format!("probe {} {} on {}", action.id, action.verb, action.target);
        let (known, started) = match self.ledger.look(mark).and_then(|known| Ok((known, self.ledger.started(mark)?))) {
            Ok(known) => known,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let over = started.as_ref().is_none_or(|started| now.since(started.at) > action.timeout + GRACE);
        match known {
            Begin::Fresh => return never_started(doing, "it was never started here"),
            Begin::Started(started) if !started.notes.contains_key(SENDING) => {
                if over {
                    return never_started(doing, "it was begun, but nothing was sent that changes anything");
                }
                let fault = Fault::new(FaultCode::TimedOut, doing, "it was begun and has not written yet");
                return Outcome::Unknown(fault);
            }
            Begin::Started(_) | Begin::Finished(Outcome::Unknown(_)) => {}
            Begin::Finished(outcome) => return outcome,
        }
        if let Err(fault) = self.checked(action) {
            return Outcome::Unknown(fault);
        }
        let mut run = self.run(action, mark, doing, Span::ZERO);
        run.deadline = self.client.look_deadline();
        run.over = over;
        run.notes = started.map(|started| started.notes).unwrap_or_default();
        run.changed.store(true, Ordering::SeqCst); // a look that fails tells nothing
        let outcome = ended(self.deed.look(&run).await);
        let found = match &outcome {
            Outcome::Done(_) => true,
            Outcome::NotDone(fault) => fault.code != FaultCode::NeverStarted,
            Outcome::Unknown(_) => false,
        };
        if found { self.ledger.settle(mark, outcome) } else { outcome }
    }

    async fn reverted(&self, now: Time, action: &Action, receipt: &Receipt) -> Outcome {
        let mark = Mark::Revert(action.id);
        let doing = doing(mark, action);
        let verb = match self.checked(action) {
            Ok(verb) => verb,
            Err(fault) => return never_started(doing, fault.detail),
        };
        if !verb.revertible {
            return not_revertible(action, self.deed.instead());
        }
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let run = self.run(action, mark, doing, action.timeout.min(verb.timeout));
        let outcome = ended(self.deed.back(&run, receipt).await);
        self.ledger.settle(mark, outcome)
    }
}

fn ended(step: Step<Receipt>) -> Outcome {
    step.map_or_else(|outcome| outcome, Outcome::Done)
}

impl<D: Deed> Actuator for Framed<D> {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.checked(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        self.checked(action)?;
        let (place, manager) = (self.client.place(), self.client.field_manager());
        Ok(self.deed.plan(&self.client, action)?.iter().map(|call| call.planned(&place, manager)).collect())
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(async move { rights::ready(&self.client, &self.deed.needs()).await })
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.applied(now, action))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.probed(now, action))
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(self.reverted(now, action, receipt))
    }
}

/// A receipt without undo data.
pub fn seen(observed: impl Into<String>) -> Receipt {
    Receipt { observed: observed.into(), ..Receipt::default() }
}
