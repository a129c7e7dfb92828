//! Playbooks as the kernel holds them: checked, with their expressions compiled and their templates filled.
//!
//! `check` says everything that is wrong with a playbook before it may be loaded; `template` fills in texts. How a run goes on is in
//! `kernel/running.rs`; how far it is, in `ledger/runs.rs`. Deliberately absent: YAML (the daemon reads it). An editor breaks this
//! by letting a playbook through whose class is milder than its roughest step.

mod check;
mod template;

pub use check::{Catalogue, check};
pub use template::{Words, fill, fill_args};

use crate::policy::{Expression, Host};
use homeostat_model::playbook::{APPROVE, Playbook, Step, Undo, WAIT};
use homeostat_model::{ArgSpec, Args, Class, Cost, Span, Verb, VerbSpec};
use std::collections::BTreeMap;

/// A playbook that passed its checks.
pub struct Checked {
    /// As it was written.
    pub playbook: Playbook,
    /// What it is to everybody else.
    pub spec: VerbSpec,
}

/// Compiled expressions of one playbook: `when` and `each` by step.
pub type Expressions = BTreeMap<(String, &'static str), Expression>;

/// Compiles the expressions of a playbook that passed its checks; one that no longer compiles is left out and fails its step.
pub fn compile(playbook: &Playbook, host: &Host) -> Expressions {
    let mut compiled = Expressions::new();
    for step in &playbook.steps {
        for (name, text) in [("when", &step.when), ("each", &step.each)] {
            if let Some(Ok(expression)) = text.as_ref().map(|text| host.compile_expression(text)) {
                compiled.insert((step.id.clone(), name), expression);
            }
        }
    }
    compiled
}

/// The verb that a step is done by; steps that are never sent have one of their own.
pub fn verb_of(step: &Step) -> Verb {
    match (&step.verb, &step.approve) {
        (Some(verb), _) => verb.clone(),
        (None, Some(_)) => APPROVE.into(),
        (None, None) => WAIT.into(),
    }
}

/// How a step is taken back, given its class: what only tells, asks, waits or restores leaves nothing behind.
pub fn undo_of(step: &Step, spec: Option<&VerbSpec>) -> Undo {
    // A verb that nobody knows any more may have left anything behind.
    let Some(spec) = spec else { return if step.verb.is_none() { Undo::Nothing } else { step.undo.clone() } };
    let leaves_nothing = step.verb.is_none() || spec.class == Class::Notify || (spec.class == Class::Restore && !spec.revertible);
    if step.undo == Undo::Revert && leaves_nothing { Undo::Nothing } else { step.undo.clone() }
}

/// What the steps that are never sent are to the arbiter.
pub fn own_verbs() -> [VerbSpec; 2] {
    let spec = |verb: &str, doc: &str| VerbSpec {
        verb: verb.into(),
        class: Class::Notify,
        args: Vec::new(),
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_hours(24),
        revertible: false,
        cost: Cost::default(),
        doc: doc.into(),
    };
    [spec(APPROVE, "Asks a person whether a run may go on."), spec(WAIT, "Waits until something is true.")]
}

/// A playbook as a verb: as rough as its roughest step, as dear as all of them together.
pub fn spec_of(playbook: &Playbook, catalogue: &Catalogue<'_>) -> VerbSpec {
    let mut class = Class::Notify;
    let mut cost = Cost::default();
    for step in &playbook.steps {
        let undo = if let Undo::By(by) = &step.undo { Some(&by.verb) } else { None };
        for spec in step.verb.iter().chain(undo).filter_map(catalogue) {
            class = class.max(spec.class);
        }
        if let Some(spec) = step.verb.as_ref().and_then(catalogue) {
            cost.disruption = cost.disruption + spec.cost.disruption;
            cost.energy_joules += spec.cost.energy_joules;
        }
    }
    let args = playbook.params.iter().map(|(name, param)| ArgSpec {
        name: name.clone(),
        kind: param.kind.clone(),
        required: param.default.is_none(),
        doc: param.doc.clone(),
    });
    VerbSpec {
        verb: playbook.verb(),
        class,
        args: args.collect(),
        target_kinds: playbook.target_kinds.clone(),
        targets: None,
        opposite: playbook.opposite.clone(),
        settle: playbook.settle,
        timeout: playbook.timeout,
        revertible: false,
        cost,
        doc: playbook.doc.clone(),
    }
}

/// The parameters of a run: what was said, and the defaults.
pub fn params_of(playbook: &Playbook, args: &Args) -> Args {
    let mut params: Args = playbook.params.iter().filter_map(|(name, param)| Some((name.clone(), param.default.clone()?))).collect();
    params.extend(args.iter().map(|(name, arg)| (name.clone(), arg.clone())));
    params
}
