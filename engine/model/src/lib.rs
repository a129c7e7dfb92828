//! The words of Homeostat as types, and the plug traits.
//!
//! Everything here is plain data that sensors, the kernel, actuators and the daemon share. Deliberately absent: behaviour that
//! decides anything, clocks, files, sockets, and any dependency but `serde`, so that a plug compiles without the kernel.
//! An editor breaks this crate by letting a type read the clock, by renaming a serialized field (the journal stores these
//! types; see `docs/journal-format.md`), or by putting a secret into one of them.

pub mod action;
pub mod advice;
pub mod alert;
pub mod arg;
pub mod event;
pub mod evidence;
pub mod fault;
pub mod guards;
pub mod mask;
pub mod name;
pub mod number;
pub mod observation;
pub mod outcome;
pub mod playbook;
pub mod plug;
pub mod proposal;
pub mod reason;
pub mod record;
pub mod rules;
pub mod score;
pub mod secret;
pub mod series;
pub mod tariff;
pub mod time;
pub mod topology;
pub mod verdict;

pub use action::{Action, Class, Lease};
pub use advice::{Advice, Advised, Brief, Choice, Look, Occasion, Pick, QuestionId, ReasoningSettings, ToldText, Verification};
pub use alert::{Alert, AlertDelivery, AlertKind, AlertSource, AlertStatus};
pub use arg::{Arg, Args, is_unshown};
pub use event::{Command, Event, Ordered};
pub use evidence::{Evidence, Margin, ReadingValue};
pub use fault::{Fault, FaultCode};
pub use guards::{
    BlastSettings, Calendar, CalendarWindow, DayBudget, DayTime, Floor, Rung, StormSettings, Weekday, WindowRule, WitnessRule,
    WitnessSettings,
};
pub use mask::Mask;
pub use name::{ActionId, ActuatorId, PolicyId, SensorId, Target, Verb};
pub use observation::{Health, Observation, Purpose, Sample, SeriesDecl, StampedSample};
pub use outcome::{Outcome, Receipt};
pub use playbook::{Playbook, RunEnd, RunMove};
pub use plug::{Actuator, ActuatorSpec, ArgKind, ArgSpec, BoxFuture, Cost, Planned, Sensor, SensorSpec, VerbSpec};
pub use proposal::{Alternative, Claim, ClaimSubject, Origin, Proposal, Relation, Suggested};
pub use reason::{
    Answer, Place, Question, QuestionPurpose, REQUEST_OVERHEAD_TOKENS, REQUESTS_BILLED_MAX, ReasonFault, ReasonFaultClass, Reasoner,
    ReasonerSpec, TokenUsage,
};
pub use record::{Closing, Entry, EntryBody, Judgement, Note, Notice, NoticeKind, Record};
pub use rules::{ArbiterSettings, Autonomy, PolicyOverride, PolicySource, RuleSet, StoreSettings};
pub use score::{AutonomyMove, BeliefKey, DrillEnd, EarnedSettings, Effect, Finding, LadderKey, MoveCause, Natural, Response, Score, Trip};
pub use secret::{Secret, VaultRef, read_vault_with};
pub use series::{Labels, SeriesKey};
pub use tariff::{MonthBudget, Spending, Tariff, TariffWindow};
pub use time::{Span, Time};
pub use topology::{Edge, HealthRule, Link, LinkRule, OwnerRule, Quorum, TopologySettings};
pub use verdict::{Reason, Ruling, Stance, Verdict};
