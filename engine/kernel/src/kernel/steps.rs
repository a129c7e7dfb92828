//! From a step to what is wished: templates filled, expressions answered, series named. Reads only; `running.rs` decides when.

use super::Kernel;
use crate::arbiter::Touch;
use crate::ledger::Run;
use crate::playbook::{Checked, Words, fill, fill_args, params_of, verb_of};
use crate::policy::Around;
use crate::store::Selector;
use homeostat_model::playbook::{Steady, Step, UndoBy, Verify};
use homeostat_model::{
    Args, Autonomy, Claim, ClaimSubject, Class, Origin, Proposal, ReadingValue, Relation, SeriesKey, Span, Target, Verb,
};
use std::sync::Arc;

impl Kernel {
    /// What a playbook would do to its target, as far as that is known before it runs.
    pub(super) fn touches_of(&self, checked: &Checked, proposal: &Proposal) -> Vec<Touch> {
        let params = params_of(&checked.playbook, &proposal.args);
        let words = Words { target: &proposal.target, each: "", params: &params };
        let itself =
            Touch { verb: proposal.verb.clone(), target: proposal.target.clone(), args: proposal.args.clone(), class: checked.spec.class };
        let steps = checked.playbook.steps.iter().filter(|step| step.each.is_none()).filter_map(|step| {
            let verb = step.verb.clone()?;
            let class = self.arbiter.verb(&verb).map_or(Class::Irreversible, |spec| spec.class);
            let target = Target::from(fill(&step.target, &words).ok()?);
            Some(Touch { verb, target, args: fill_args(&step.args, &words).ok()?, class })
        });
        std::iter::once(itself).chain(steps).collect()
    }

    fn around<'a>(&self, run: &'a Run, steps: &'a std::collections::BTreeMap<String, &'static str>) -> Around<'a> {
        Around { now: self.now, target: run.target.as_str(), target_name: run.target.name(), params: Arc::new(run.params.clone()), steps }
    }

    /// Whether a step is needed.
    pub(super) fn is_needed(&self, run: &Run, step: &Step) -> Result<bool, String> {
        let Some(text) = &step.when else { return Ok(true) };
        let compiled = self.expressions.get(&run.id).and_then(|all| all.get(&(step.id.clone(), "when")));
        let expression = compiled.ok_or_else(|| format!("`when` does not compile: {text}"))?;
        let standing = run.standing();
        self.host.holds(expression, &self.around(run, &standing)).map_err(|why| format!("`when`: {why}"))
    }

    /// The instances of a step: one empty text where it has no `each`.
    pub(super) fn instances(&self, run: &Run, step: &Step) -> Result<Vec<String>, String> {
        let Some(text) = &step.each else { return Ok(vec![String::new()]) };
        let compiled = self.expressions.get(&run.id).and_then(|all| all.get(&(step.id.clone(), "each")));
        let expression = compiled.ok_or_else(|| format!("`each` does not compile: {text}"))?;
        let standing = run.standing();
        self.host.texts(expression, &self.around(run, &standing)).map_err(|why| format!("`each`: {why}"))
    }

    /// The wish of one instance of a step.
    pub(super) fn step_proposal(&self, run: &Run, step: &Step, instance: usize, each: &str) -> Result<Proposal, String> {
        let words = Words { target: &run.target, each, params: &run.params };
        let claim = step.verify.as_ref().map(|verify| self.claim_of(verify, &words)).transpose()?;
        let because = match &step.approve {
            Some(question) => fill(question, &words)?,
            None => self.because(run, step),
        };
        let (target, args) = (Target::from(fill(&step.target, &words)?), fill_args(&step.args, &words)?);
        Ok(part(run, step, instance, false, verb_of(step), target, args, because, claim))
    }

    /// The wish that takes one instance of a step back by another action.
    pub(super) fn undo_proposal(&self, run: &Run, step: &Step, instance: usize, each: &str, by: &UndoBy) -> Result<Proposal, String> {
        let words = Words { target: &run.target, each, params: &run.params };
        let (target, args) = (Target::from(fill(&by.target, &words)?), fill_args(&by.args, &words)?);
        let why = run.undoing.as_ref().map_or("", |(_, why)| why);
        Ok(part(run, step, instance, true, by.verb.clone(), target, args, format!("takes back step {}: {why}", step.id), None))
    }

    fn because(&self, run: &Run, step: &Step) -> String {
        let of_run = self.ledger.action(run.id).map_or("", |state| state.proposal.because.as_str());
        let own = if step.doc.is_empty() { &run.playbook.doc } else { &step.doc };
        format!("{own} ({of_run})")
    }

    /// The one series that a condition names.
    fn one_series(&self, text: &str, words: &Words<'_>) -> Result<SeriesKey, String> {
        let text = fill(text, words)?;
        let selector = Selector::parse(&text).map_err(|error| error.to_string())?;
        self.host.with_store(|store| match store.select(&selector).as_slice() {
            [series] => store.key(*series).ok_or_else(|| format!("`{text}` names no series any more")),
            [] => Err(format!("`{text}` names no series")),
            more => Err(format!("`{text}` names {} series, expected exactly one", more.len())),
        })
    }

    fn claim_of(&self, verify: &Verify, words: &Words<'_>) -> Result<Claim, String> {
        let series = self.one_series(&verify.series, words).map_err(|why| format!("`verify`: {why}"))?;
        let subject = ClaimSubject::Series { series, relation: verify.relation, threshold: verify.threshold, held: verify.held };
        Ok(Claim { subject, within: verify.within })
    }

    /// What is not steady, in words; `None`: all is well.
    pub(super) fn unsteady(&self, run: &Run, step: &Step, each: &str) -> Option<String> {
        let words = Words { target: &run.target, each, params: &run.params };
        step.steady.iter().find_map(|steady| self.breach(steady, &words))
    }

    fn breach(&self, steady: &Steady, words: &Words<'_>) -> Option<String> {
        let series = match self.one_series(&steady.series, words) {
            Ok(series) => series,
            Err(why) => return Some(format!("the steady state cannot be told: {why}")),
        };
        let value =
            self.host.with_store(|store| store.find(&series).map_or(ReadingValue::NoData, |found| store.last(found, self.now).value));
        let sign = if steady.relation == Relation::Above { '>' } else { '<' };
        match value.value() {
            Some(value) if steady.relation == Relation::Above && value > steady.threshold => None,
            Some(value) if steady.relation == Relation::Below && value < steady.threshold => None,
            Some(value) => Some(format!("the steady state broke: {series} is {value}, expected {sign} {}", steady.threshold)),
            None => Some(format!("the steady state cannot be told: {series}: {value}")),
        }
    }
}

#[allow(clippy::too_many_arguments)] // the parts of one wish
fn part(
    run: &Run,
    step: &Step,
    instance: usize,
    undo: bool,
    verb: Verb,
    target: Target,
    args: Args,
    because: String,
    claim: Option<Claim>,
) -> Proposal {
    let back = if undo { "/undo" } else { "" };
    Proposal {
        origin: Origin::Playbook { run: run.id, step: step.id.clone(), instance: instance as u32, undo },
        symptom: format!("{}/{}/{instance}{back}", run.id, step.id),
        verb,
        target,
        args,
        because,
        evidence: Vec::new(),
        claim,
        cooldown: Span::ZERO,
        settle: None,
        autonomy: Autonomy::Auto,
        alternatives: Vec::new(),
    }
}
