//! The journal's right column: effects as plain data. A record read back from the journal can be explained and folded into state,
//! never dispatched: only the arbiter's own type can be (`homeostat_kernel::effect::Effect`).

use crate::{
    Action, ActionId, AutonomyMove, DrillEnd, Evidence, PolicyId, Proposal, Receipt, Ruling, RunMove, Score, Spending, Target, Time, Trip,
    Verb,
};
use serde::{Deserialize, Serialize};

/// How a claim turned out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// `Some(true)`: it came true in time. `Some(false)`: it did not. `None`: nobody could see.
    pub held: Option<bool>,
    /// What was read when it was judged.
    pub evidence: Vec<Evidence>,
    /// In words.
    pub text: String,
}

/// How an action ends without an outcome.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// A person said no.
    Refused,
    /// A person said no, and never again for this target.
    Never,
    /// Nobody answered in time; that is a no.
    Expired,
    /// Its reason is gone: the policy no longer wishes it.
    Gone,
    /// It was sent and nobody can tell what became of it.
    Unresolved,
}

/// What a notice is about.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A person is asked.
    Approval,
    /// Hands-off began or ended.
    HandsOff,
    /// Something did not help, is locked, or cannot be known.
    Trouble,
    /// A policy has earned or lost autonomy.
    Autonomy,
}

/// Something people should hear at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What about.
    pub kind: NoticeKind,
    /// The action, if there is one.
    pub action: Option<ActionId>,
    /// One line.
    pub title: String,
    /// More.
    pub text: String,
}

/// Something worth remembering that is not an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// A policy could not be loaded; the old set stays.
    LoadRefused {
        /// One diagnostic per problem.
        errors: Vec<String>,
    },
    /// Policies were loaded.
    PoliciesLoaded {
        /// Names and digests.
        policies: Vec<(PolicyId, String)>,
        /// What can be done, with a digest of how; what was learned of a verb is forgotten when its digest changes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        verbs: Vec<(Verb, String)>,
    },
    /// An evaluation failed (not: was undetermined). Noted when it begins and when it ends.
    EvaluationFault {
        /// The policy.
        policy: PolicyId,
        /// The symptom.
        symptom: String,
        /// What happened; empty: it is over.
        error: String,
    },
    /// An evaluation became undetermined, or stopped being so (`why` empty).
    Undetermined {
        /// The policy.
        policy: PolicyId,
        /// The symptom.
        symptom: String,
        /// The reading without a value.
        why: String,
    },
    /// A limit was reached.
    LimitReached {
        /// Which.
        limit: String,
        /// What was refused or shed.
        detail: String,
    },
    /// An approval was withdrawn because its reason is gone.
    Withdrawn {
        /// The action.
        action: ActionId,
        /// Why.
        why: String,
    },
    /// An order was refused.
    OrderRefused {
        /// Who gave it.
        by: String,
        /// Why not.
        why: String,
    },
    /// A question to reasoners ended without a proposal.
    NoProposal {
        /// The question.
        question: crate::QuestionId,
        /// Why.
        why: String,
    },
    /// An alert delivery repeated what was known.
    DuplicateAlerts {
        /// How many alerts.
        count: u64,
    },
    /// Many targets of one policy look bad at once: the observer is suspected; began or ended.
    ObserverFault {
        /// The policy.
        policy: PolicyId,
        /// How many fire.
        firing: usize,
        /// Of how many.
        of: usize,
        /// Whether it began.
        began: bool,
    },
}

/// An effect as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A proposal was ruled on. `action` is its number from now on.
    Ruled {
        /// The number.
        action: ActionId,
        /// The wish.
        proposal: Box<Proposal>,
        /// The ruling.
        ruling: Ruling,
        /// The hash of verb, target and arguments that an approval names.
        plan: String,
    },
    /// It is sent now; intent before effect. `attempt` counts from 1.
    Act {
        /// What is sent.
        action: Action,
        /// The attempt.
        attempt: u32,
    },
    /// The actuator is asked whether it is true.
    Probe {
        /// The action.
        action: ActionId,
    },
    /// It is taken back.
    Revert {
        /// The action.
        action: ActionId,
        /// What the actuator needs.
        receipt: Receipt,
    },
    /// Something happened to a playbook's run.
    Run {
        /// The run's own action.
        run: ActionId,
        /// What.
        step: RunMove,
    },
    /// The kernel itself knows how it ended: runs, and steps that are never sent.
    Settled {
        /// The action.
        action: ActionId,
        /// How.
        outcome: crate::Outcome,
    },
    /// It ends without an outcome.
    Closed {
        /// The action.
        action: ActionId,
        /// In which way.
        closing: Closing,
        /// Why.
        why: String,
    },
    /// A claim was due.
    Judged {
        /// The action.
        action: ActionId,
        /// How it turned out.
        judgement: Judgement,
    },
    /// What an action really did.
    Scored {
        /// The action.
        action: ActionId,
        /// What.
        score: Box<Score>,
    },
    /// What an action cost, for the books.
    Spent {
        /// The action.
        action: ActionId,
        /// Who is charged: the policy behind it, or `operator`.
        policy: String,
        /// What.
        spending: Box<Spending>,
    },
    /// A policy has earned or lost a step of autonomy.
    Autonomy(Box<AutonomyMove>),
    /// A drill has ended.
    Drilled(Box<DrillEnd>),
    /// Actions on a target go round in circles.
    Tripped(Trip),
    /// Reasoners are asked.
    Asked {
        /// The question's number.
        question: crate::QuestionId,
        /// Exactly what they are told.
        brief: Box<crate::Brief>,
    },
    /// People should hear this.
    Announce(Notice),
    /// Worth remembering.
    Noted(Note),
}

impl Record {
    /// The name used in journal and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Record::Ruled { .. } => "ruled",
            Record::Act { .. } => "act",
            Record::Probe { .. } => "probe",
            Record::Revert { .. } => "revert",
            Record::Run { .. } => "run",
            Record::Settled { .. } => "settled",
            Record::Closed { .. } => "closed",
            Record::Judged { .. } => "judged",
            Record::Scored { .. } => "scored",
            Record::Spent { .. } => "spent",
            Record::Autonomy(_) => "autonomy",
            Record::Drilled(_) => "drilled",
            Record::Tripped(_) => "tripped",
            Record::Asked { .. } => "asked",
            Record::Announce(_) => "announce",
            Record::Noted(_) => "noted",
        }
    }

    /// The action it belongs to.
    pub fn action(&self) -> Option<ActionId> {
        match self {
            Record::Ruled { action, .. }
            | Record::Probe { action }
            | Record::Revert { action, .. }
            | Record::Closed { action, .. }
            | Record::Settled { action, .. }
            | Record::Judged { action, .. }
            | Record::Scored { action, .. }
            | Record::Spent { action, .. } => Some(*action),
            Record::Run { run, .. } => Some(*run),
            Record::Act { action, .. } => Some(action.id),
            Record::Announce(notice) => notice.action,
            Record::Noted(Note::Withdrawn { action, .. }) => Some(*action),
            Record::Autonomy(_) | Record::Drilled(_) | Record::Tripped(_) | Record::Asked { .. } | Record::Noted(_) => None,
        }
    }

    /// The target it touches.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Record::Ruled { proposal, .. } => Some(&proposal.target),
            Record::Act { action, .. } => Some(&action.target),
            Record::Drilled(end) => Some(&end.target),
            Record::Tripped(trip) => Some(&trip.target),
            Record::Asked { brief, .. } => Some(&brief.occasion.target),
            _ => None,
        }
    }
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryBody {
    /// Something happened.
    Event(crate::Event),
    /// Something was decided.
    Effect(Record),
}

/// One journal line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, without gaps over journal and sample log together.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// What.
    pub body: EntryBody,
}
