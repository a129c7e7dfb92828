//! The dry run: what the guards would say and what would be touched, without doing, remembering or counting anything (lesson 26).

use super::Kernel;
use crate::arbiter::guards::blast_preview;
use crate::arbiter::{Consent, Touch};
use crate::playbook::{params_of, verb_of};
use homeostat_model::{Action, ActionId, Args, Autonomy, Class, Lease, Origin, Proposal, Reason, Span, Target, Verb, VerbSpec};
use serde::Serialize;

/// What would happen if a wish were made now.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// What is wished.
    pub verb: Verb,
    /// On what.
    pub target: Target,
    /// How.
    pub args: Args,
    /// The plan's hash, as an approval would name it.
    pub plan: String,
    /// The verdict's name.
    pub verdict: &'static str,
    /// What each guard says.
    pub reasons: Vec<Reason>,
    /// What would not work meanwhile, in words.
    pub blast: Vec<String>,
    /// What would be done, step by step; one for a plain verb.
    pub steps: Vec<PlannedStep>,
}

/// One action of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedStep {
    /// The playbook's step; empty for a plain verb.
    pub step: String,
    /// What it waits for, and on which condition.
    pub when: String,
    /// The action as an actuator would get it. `None`: it is known only when the run is there.
    pub action: Option<Action>,
}

impl Kernel {
    /// Rules on a wish without following the verdict. `by` is the person who asks; the order itself would be the yes.
    pub fn plan(&self, by: &str, verb: &Verb, target: &Target, args: &Args) -> Plan {
        let proposal = Proposal {
            origin: Origin::Operator(by.to_owned()),
            symptom: format!("{verb} {target}"),
            verb: verb.clone(),
            target: target.clone(),
            args: args.clone(),
            because: "a dry run".into(),
            evidence: Vec::new(),
            claim: None,
            cooldown: Span::ZERO,
            settle: None,
            autonomy: Autonomy::Auto,
            alternatives: Vec::new(),
        };
        self.plan_of(&proposal, Some(Consent::Approved { by: by.to_owned() }))
    }

    /// What an open or finished action would do if it were wished now, without a person's word.
    pub fn plan_again(&self, id: ActionId) -> Option<Plan> {
        let state = self.ledger().action(id)?;
        Some(self.plan_of(&state.proposal.clone(), None))
    }

    fn plan_of(&self, proposal: &Proposal, consent: Option<Consent>) -> Plan {
        let (ruling, blast) =
            self.with_case(proposal, self.now(), consent, |arbiter, case| (arbiter.rule(case).ruling, blast_preview(case)));
        Plan {
            verb: proposal.verb.clone(),
            target: proposal.target.clone(),
            args: proposal.args.clone(),
            plan: super::wishes::plan_hash(proposal),
            verdict: ruling.verdict.name(),
            reasons: ruling.reasons,
            blast,
            steps: self.planned(proposal),
        }
    }

    fn planned(&self, proposal: &Proposal) -> Vec<PlannedStep> {
        let touch = |verb: &Verb, target: &Target, args: &Args| Touch {
            verb: verb.clone(),
            target: target.clone(),
            args: args.clone(),
            class: Class::Notify,
        };
        let Some(checked) = self.playbook(&proposal.verb) else {
            let action = self.as_action(&touch(&proposal.verb, &proposal.target, &proposal.args));
            return vec![PlannedStep { step: String::new(), when: String::new(), action }];
        };
        let params = params_of(&checked.playbook, &proposal.args);
        let words = crate::playbook::Words { target: &proposal.target, each: "{each}", params: &params };
        let steps = checked.playbook.steps.iter().map(|step| {
            let mut when: Vec<String> = step.after.iter().map(|after| format!("after {after}")).collect();
            when.extend(step.when.iter().map(|text| format!("if {text}")));
            when.extend(step.each.iter().map(|text| format!("for each of {text}")));
            when.extend(step.approve.iter().map(|question| format!("a person says yes to: {question}")));
            when.extend(step.verify.iter().map(|verify| {
                format!("then {} {:?} {} within {}", verify.series, verify.relation, verify.threshold, verify.within).to_lowercase()
            }));
            let target = crate::playbook::fill(&step.target, &words).ok().map(Target::from);
            let args = crate::playbook::fill_args(&step.args, &words).ok();
            let action = step.verb.as_ref().and_then(|_| self.as_action(&touch(&verb_of(step), &target?, &args?)));
            PlannedStep { step: step.id.clone(), when: when.join("; "), action }
        });
        steps.collect()
    }

    /// The action as an actuator would get it; its number and lease are those of no action at all.
    fn as_action(&self, touch: &Touch) -> Option<Action> {
        let spec = self.verb_spec(&touch.verb)?;
        Some(Action {
            id: ActionId(0),
            verb: touch.verb.clone(),
            target: touch.target.clone(),
            args: touch.args.clone(),
            class: spec.class,
            timeout: spec.timeout,
            lease: Lease { generation: self.ledger().generation(), expires: self.now() },
            because: "a dry run".into(),
        })
    }

    /// What is known of a verb.
    pub fn verb_spec(&self, verb: &Verb) -> Option<&VerbSpec> {
        self.arbiter.verb(verb)
    }
}
