//! Runs a policy for one subject inside its limits, and says what came of it.
//!
//! Limits are set one by one, because Rhai's defaults are "unlimited" (and differ between debug and release). Wall time is bounded
//! without a clock: by operations, and by the samples that native functions may touch. A panic in a function is caught and is a
//! fault of that evaluation only.

use super::PolicyError;
use super::api;
use super::load::Policy;
use super::reading::{AlertHandle, Series};
use super::session::{Draft, Mode, PRINTS_MAX, Session, Shared, Stop, Trail, evidence_from, lock};
use super::words;
use crate::store::{SelectionId, SeriesRef, Store};
use homeostat_model::{Alert, Claim, ClaimSubject, Evidence, Origin, Proposal, Span, Target, Time};
use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage, BasicStringPackage, LogicPackage,
    MoreStringPackage, Package,
};
use rhai::{Caches, CallFnOptions, Dynamic, Engine, EvalAltResult, EvalContext, OptimizationLevel, Scope};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an evaluation is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A series of `for_each`.
    Series(SeriesRef),
    /// The whole.
    Once,
    /// An alert.
    Alert(Arc<Alert>),
}

/// What came of an evaluation.
#[derive(Clone, Debug)]
pub enum Evaluated {
    /// Nothing is wished.
    Quiet,
    /// These are wished.
    Fired(Vec<Proposal>),
    /// A reading without a value was used; it is named.
    Undetermined(String),
    /// The script failed or reached a limit.
    Fault(String),
}

/// An evaluation with what scheduling needs of it.
pub struct Evaluation {
    /// What came of it.
    pub result: Evaluated,
    /// The series that it read.
    pub inputs: Vec<SeriesRef>,
    /// Until when the answer stays the same if nothing new arrives.
    pub valid_until: Time,
    /// The selections that it depended on.
    pub selections: Vec<SelectionId>,
    /// Whether it depended on selectors for which there was no room to stand.
    pub is_loose: bool,
    /// What it printed.
    pub prints: Vec<String>,
}

/// What the host adds to every wish of a policy.
#[derive(Clone, Debug)]
pub struct Traits {
    /// Who wishes.
    pub origin: Origin,
    /// The symptom.
    pub symptom: String,
    /// The target, where the script names none.
    pub target: Target,
}

/// The script engine and the windows that it reads.
pub struct Host {
    pub(super) engine: Engine,
    shared: Shared,
    /// How often branches were taken, where that is recorded.
    pub(super) taken: Option<super::branches::Taken>,
    #[cfg(any(test, feature = "sabotage"))]
    runs_every_script: bool,
}

impl Host {
    /// A host over a store.
    pub fn new(store: Store) -> Host {
        let shared: Shared = Arc::new(Mutex::new(Session::new(store)));
        let mut engine = Engine::new_raw();
        for package in [
            ArithmeticPackage::new().as_shared_module(),
            LogicPackage::new().as_shared_module(),
            BasicStringPackage::new().as_shared_module(),
            MoreStringPackage::new().as_shared_module(),
            BasicIteratorPackage::new().as_shared_module(),
            BasicMathPackage::new().as_shared_module(),
            BasicArrayPackage::new().as_shared_module(),
            BasicMapPackage::new().as_shared_module(),
        ] {
            engine.register_global_module(package);
        }
        limit(&mut engine);
        let prints = Arc::clone(&shared);
        engine.on_print(move |line| {
            let mut session = lock(&prints);
            if session.prints.len() < PRINTS_MAX {
                session.prints.push(line.chars().take(200).collect());
            }
        });
        engine.on_debug(|_, _, _| {});
        api::register(&mut engine, &shared);
        Host {
            engine,
            shared,
            taken: None,
            #[cfg(any(test, feature = "sabotage"))]
            runs_every_script: false,
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    #[cfg(test)]
    pub(super) fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Looks at the windows.
    pub fn with_store<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        look(&mut lock(&self.shared).store)
    }

    /// Evaluates a policy for one subject.
    pub fn evaluate(&self, policy: &Policy, subject: &Subject, traits: &Traits, now: Time) -> Evaluation {
        {
            let mut session = lock(&self.shared);
            session.begin(now, Mode::Evaluate, &policy.params);
            if let Subject::Alert(alert) = subject {
                session.alert = Some(Arc::clone(alert));
            }
        }
        let called = catch_unwind(AssertUnwindSafe(|| self.call(policy, subject)));
        if called.is_err() {
            self.forget_resolved(policy);
        }
        let mut session = lock(&self.shared);
        let result = match called {
            Ok(Ok(_)) if session.stop.is_none() => fired(&mut session, policy, traits),
            Ok(Ok(_)) => stopped(&session, policy, None),
            Ok(Err(error)) => stopped(&session, policy, Some(&error)),
            Err(panic) => Evaluated::Fault(format!("a function panicked: {}", panic_text(panic.as_ref()))),
        };
        Evaluation {
            result,
            inputs: std::mem::take(&mut session.inputs),
            valid_until: session.valid_until,
            selections: std::mem::take(&mut session.selections),
            is_loose: !session.loose.is_empty(),
            prints: std::mem::take(&mut session.prints),
        }
    }

    /// Calls the script's function. Which native function a call means is looked up once per policy and kept: the engine's own
    /// `call_fn` looks through every module again for every call, which is half of a short evaluation.
    pub(super) fn call(&self, policy: &Policy, subject: &Subject) -> Result<Dynamic, Box<EvalAltResult>> {
        let (name, argument) = match subject {
            Subject::Series(series) => ("evaluate", Some(Dynamic::from(Series(*series)))),
            Subject::Once => ("evaluate", None),
            Subject::Alert(_) => ("on_alert", Some(Dynamic::from(AlertHandle))),
        };
        let scope = &mut Scope::new();
        if policy.whole_ast {
            let arguments: Vec<Dynamic> = argument.into_iter().collect();
            return self.engine.call_fn_with_options(CallFnOptions::new().eval_ast(true), scope, &policy.ast, name, arguments);
        }
        // Operations are counted in here, so every evaluation gets a new one.
        let mut global = self.engine.new_global_runtime_state();
        global.lib.push(policy.ast.shared_lib().clone());
        let mut caches = resolved(policy);
        let mut context = EvalContext::new(&self.engine, &mut global, &mut caches, scope, None);
        match argument {
            Some(mut argument) => context.call_fn_raw(name, false, false, &mut [&mut argument]),
            None => context.call_fn_raw(name, false, false, &mut []),
        }
    }

    /// After a panic, which may have left it half written.
    pub(super) fn forget_resolved(&self, policy: &Policy) {
        *resolved(policy) = Caches::new();
    }

    /// Takes what the last evaluation saw and gives back the buffers of `trail`, so that nothing is allocated.
    pub fn swap_trail(&self, trail: &mut Trail) {
        let mut session = lock(&self.shared);
        std::mem::swap(&mut session.seen, &mut trail.seen);
        std::mem::swap(&mut session.compared, &mut trail.compared);
        std::mem::swap(&mut session.steps, &mut trail.steps);
        trail.cost_beside = session.cost - session.reads_cost;
        trail.is_clear = !session.is_unclear && session.alert.is_none() && session.loose.is_empty();
    }

    /// Makes the reads of a trail again. Where they would lead the script of a quiet evaluation to the same end, the trail is up to
    /// date, and this gives until when that stays so if nothing new arrives. Otherwise the trail is worth nothing: evaluate.
    ///
    /// Policy, parameters and what its selectors name must be those of the evaluation (`inputs`: what that read).
    pub fn retrace(&self, trail: &mut Trail, inputs: &[SeriesRef], now: Time) -> Option<Time> {
        #[cfg(any(test, feature = "sabotage"))]
        if self.runs_every_script {
            return None;
        }
        lock(&self.shared).retrace(trail, inputs, now)
    }

    /// From now on every look back along a trail says that the script must be run.
    #[cfg(any(test, feature = "sabotage"))]
    pub fn never_retrace(&mut self) {
        self.runs_every_script = true;
    }

    /// A trail as evidence.
    pub fn evidence_of(&self, trail: &Trail) -> Vec<Evidence> {
        evidence_from(&lock(&self.shared).store, &trail.seen, &trail.compared)
    }
}

fn resolved(policy: &Policy) -> MutexGuard<'_, Caches> {
    policy.resolved.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every limit, explicitly; the same in debug and release.
fn limit(engine: &mut Engine) {
    engine.set_max_operations(200_000);
    // Two levels are our own way in.
    engine.set_max_call_levels(18);
    engine.set_max_expr_depths(64, 32);
    engine.set_max_string_size(64 << 10);
    engine.set_max_array_size(10_000);
    engine.set_max_map_size(1_000);
    engine.set_max_variables(256);
    engine.set_max_functions(128);
    engine.set_max_modules(0);
    engine.set_strict_variables(true);
    engine.set_optimization_level(OptimizationLevel::Simple);
    engine.disable_symbol("eval");
    engine.disable_symbol("import");
    engine.disable_symbol("export");
}

fn fired(session: &mut Session, policy: &Policy, traits: &Traits) -> Evaluated {
    if session.drafts.is_empty() {
        return Evaluated::Quiet;
    }
    let evidence = session.evidence();
    let drafts = std::mem::take(&mut session.drafts);
    Evaluated::Fired(drafts.into_iter().map(|draft| proposal(draft, policy, traits, &evidence)).collect())
}

fn proposal(draft: Draft, policy: &Policy, traits: &Traits, evidence: &[Evidence]) -> Proposal {
    let cooldown = draft.cooldown.unwrap_or(policy.cooldown);
    // A notification claims its delivery, unless the script claims more.
    let delivered =
        || (draft.verb.actuator() == "notify").then_some(Claim { subject: ClaimSubject::Delivered, within: Span::from_mins(5) });
    let claim = draft.claim.or_else(delivered);
    Proposal {
        origin: traits.origin.clone(),
        symptom: traits.symptom.clone(),
        target: draft.target.unwrap_or_else(|| traits.target.clone()),
        verb: draft.verb,
        args: draft.args,
        because: draft.because,
        evidence: evidence.iter().take(64).cloned().collect(),
        claim,
        cooldown,
        settle: policy.settle,
        autonomy: policy.autonomy,
        alternatives: draft.alternatives,
    }
}

fn stopped(session: &Session, policy: &Policy, error: Option<&EvalAltResult>) -> Evaluated {
    let place = error.map(|error| error.unwrap_inner().position()).filter(|p| !p.is_none());
    match (&session.stop, error) {
        (Some(Stop::Undetermined(seen)), _) => {
            let evidence = session.evidence();
            let why = evidence.get(*seen as usize).map_or_else(
                || "a reading".to_owned(),
                |e| {
                    let series = e.series.as_ref().map_or_else(String::new, |key| format!(" of {key}"));
                    format!("{}{series}: {}", e.operation, e.value)
                },
            );
            Evaluated::Undetermined(why)
        }
        (Some(Stop::Fault(text)), _) => {
            let place = place.or_else(|| property_place(&policy.text, text)).unwrap_or(rhai::Position::NONE);
            Evaluated::Fault(shown(session, PolicyError::at(&policy.path, &policy.text, place, text)))
        }
        (None, Some(error)) => {
            let inner = error.unwrap_inner();
            let said = words::of_run(inner);
            let error = PolicyError::at(&policy.path, &policy.text, inner.position(), said.message).help(said.help);
            Evaluated::Fault(shown(session, error))
        }
        (None, None) => Evaluated::Fault("the evaluation stopped without a reason".into()),
    }
}

/// A fault with the reading that came before it, if there was one: what the script stumbled over, or went wrong by.
fn shown(session: &Session, error: PolicyError) -> String {
    match session.evidence().last() {
        Some(read) => {
            let of = read.series.as_ref().map_or_else(String::new, |series| format!(" of {series}"));
            format!("{error}\n   = reading: {}{of}: {}", read.operation, read.value)
        }
        None => error.to_string(),
    }
}

/// Where a property that a message quotes stands in the script: Rhai gives no place for errors of `series.label`.
fn property_place(source: &str, message: &str) -> Option<rhai::Position> {
    let name = message.split('`').nth(1)?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    source.lines().enumerate().find_map(|(row, line)| {
        let (column, _) =
            line.match_indices(name).find(|(at, _)| line[..*at].ends_with('.') && !line[at + name.len()..].starts_with(is_word))?;
        Some(rhai::Position::new(u16::try_from(row + 1).ok()?, u16::try_from(column + 1).ok()?))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}
