//! What a person asks in English, read into a typed question or request without any model.
//!
//! The grammar is small, deterministic and closed: every word of a sentence must be understood, or nothing is requested. It does not
//! guess: where two readings are possible, or something is missing, or a word asks for what does not exist here (a later time, a
//! condition), it asks back, with choices that can be said as they stand. Deliberately absent: doing anything. A request is a wish like
//! any other, shown to a person as a plan, confirmed, and ruled by the arbiter. An editor breaks this by ignoring a word that was not
//! understood, by making a request of a sentence that says "not", or by building a verb or a target from text.

mod grammar;
mod known;
mod noun;
mod questions;
mod requests;
#[cfg(test)]
mod tests;
mod words;

pub use known::{Environment, EnvironmentSize, Known, NAME_BYTES_MAX, NAMES_MAX, Named, REQUESTS_MAX, THINGS_MAX};
pub use words::{CHARS_MAX, Period};

use homeostat_model::{ActionId, Args, Class, PolicyId, Span, Target, Verb};
use serde::{Deserialize, Serialize};

/// How many choices an answer offers.
pub const CHOICES_MAX: usize = 8;

/// What was understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "understood", rename_all = "snake_case")]
pub enum Understood {
    /// Something to answer; reads only.
    Question(Asked),
    /// Something to do.
    Request(Wish),
    /// To stop acting, or to go on.
    HandsOff(Order),
    /// It takes an answer first.
    AskBack {
        /// What is not clear, or cannot be.
        question: String,
        /// What may have been meant; may be empty.
        choices: Vec<Choice>,
    },
    /// Not understood.
    Unknown {
        /// What can be asked, the nearest first.
        nearest: Vec<String>,
    },
}

/// One way to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// For people.
    pub text: String,
    /// What to ask instead; it is understood as one question, request or order.
    pub as_request: String,
}

/// A question and how it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// What is asked.
    pub intent: Intent,
    /// How it was read, which name was taken for what included.
    pub said: String,
}

/// A wish: a registered verb on a known target, with arguments that its schema allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// What.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// How.
    pub args: Args,
    /// How much it can hurt, as the verb says.
    pub class: Class,
    /// How it was read, which name was taken for what included.
    pub said: String,
}

/// Hands-off, and its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Sensing goes on, nothing is sent.
    Pause {
        /// Why, in the person's words.
        reason: Option<String>,
        /// For how long; none: until it is lifted.
        lasts: Option<Span>,
    },
    /// Act again.
    Resume,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// everything
    House,
    /// one thing
    Target(Target),
    /// one policy
    Policy(PolicyId),
    /// one person
    Person(String),
    /// one team
    Team(String),
}

/// What is used up.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// cores
    Cpu,
    /// bytes of memory
    Memory,
    /// watts and joules
    Power,
    /// bytes of filesystems
    Disk,
}

/// What is to be foretold.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicted {
    /// a filesystem or the memory runs full
    Full,
    /// a disk fails
    Fail,
    /// a certificate expires
    Expire,
    /// whatever is known
    Anything,
}

/// Who may do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// whoever it is
    Anyone,
    /// whoever asks
    Me,
    /// a person
    Person(String),
    /// a team
    Team(String),
}

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum May {
    /// all there is
    Anything,
    /// answering approvals
    Approve,
    /// pausing and resuming
    HandsOff,
    /// any of these verbs, on this target or on any
    Act {
        /// The verbs that do what was said; never empty.
        verbs: Vec<Verb>,
        /// The target, if one was said.
        target: Option<Target>,
    },
}

/// A question, typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "snake_case")]
pub enum Intent {
    /// How it is now.
    Status {
        /// Of what.
        of: Subject,
    },
    /// Why something was done or is so; at least one is there.
    Why {
        /// The action.
        action: Option<ActionId>,
        /// The policy.
        policy: Option<PolicyId>,
        /// The target.
        target: Option<Target>,
        /// When it was.
        period: Option<Period>,
    },
    /// Why nothing was done; at least one is there.
    WhyNot {
        /// The policy.
        policy: Option<PolicyId>,
        /// The target.
        target: Option<Target>,
        /// When it would have been.
        period: Option<Period>,
    },
    /// How much is used.
    Usage {
        /// By whom.
        of: Subject,
        /// Of what, in order; empty: of everything.
        resources: Vec<Resource>,
        /// When; none: now.
        period: Option<Period>,
    },
    /// What it costs.
    Cost {
        /// What.
        of: Subject,
        /// When; none: as it is told by default.
        period: Option<Period>,
    },
    /// What Homeostat has saved.
    Savings {
        /// By or on what.
        of: Subject,
        /// When.
        period: Option<Period>,
    },
    /// Which incidents there are.
    Incidents {
        /// About what.
        of: Subject,
        /// When; none: the open ones.
        period: Option<Period>,
    },
    /// What will be.
    Predict {
        /// With what.
        of: Subject,
        /// What.
        what: Predicted,
    },
    /// Who may do something.
    WhoMay {
        /// Who.
        who: Who,
        /// What.
        what: May,
    },
    /// A drill that could be done; nothing is done.
    PlanDrill {
        /// On what.
        target: Option<Target>,
        /// Of which policy.
        policy: Option<PolicyId>,
        /// By which configured experiment.
        experiment: Option<String>,
    },
}

/// Reads one sentence. The same text and the same `known` give the same answer; nothing is kept.
pub fn understand(text: &str, known: &Known) -> Understood {
    grammar::understand(text, known)
}
