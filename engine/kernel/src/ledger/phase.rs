//! Where an action stands, and the one function that moves it. Illegal moves are refused, so a journal that lies cannot lead to a
//! second sending.

use homeostat_model::{Closing, FaultCode, Outcome, Record, Time, Verdict};
use serde::Serialize;

/// Where an action stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Only watched.
    Shadowed,
    /// Refused by a guard.
    Denied,
    /// Held by a guard.
    Deferred {
        /// Until when.
        until: Time,
    },
    /// A person is asked.
    Awaiting {
        /// The end of the wait.
        by: Time,
    },
    /// Let through, not yet sent.
    Admitted,
    /// Sent; nothing heard yet.
    InFlight,
    /// Sent; the actuator is asked what became of it.
    Probing,
    /// Done, and seen to be done.
    Done,
    /// Surely not done.
    NotDone {
        /// Nothing ever left the machine; only then may it be sent again.
        never_started: bool,
    },
    /// Ended without an outcome.
    Closed {
        /// In which way.
        closing: Closing,
    },
}

impl Phase {
    /// The name used in status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Shadowed => "shadowed",
            Phase::Denied => "denied",
            Phase::Deferred { .. } => "deferred",
            Phase::Awaiting { .. } => "awaiting_approval",
            Phase::Admitted => "admitted",
            Phase::InFlight => "in_flight",
            Phase::Probing => "probing",
            Phase::Done => "done",
            Phase::NotDone { .. } => "not_done",
            Phase::Closed { .. } => "closed",
        }
    }

    /// Wished but not sent: it can still be ruled on again, answered by a person, or fall away.
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Shadowed | Phase::Denied | Phase::Deferred { .. } | Phase::Awaiting { .. } | Phase::Admitted)
    }

    /// Sent, and what became of it is not known yet.
    pub fn is_running(self) -> bool {
        matches!(self, Phase::InFlight | Phase::Probing)
    }

    /// The phase after a record; `Err` names the illegal move.
    pub fn after(from: Option<Phase>, record: &Record) -> Result<Phase, String> {
        let illegal = || Err(format!("`{}` cannot follow {}", record.name(), from.map_or("nothing", Phase::name)));
        match record {
            Record::Ruled { ruling, .. } => {
                // A second attempt is ruled anew after the actuator said that nothing was ever started.
                if !from.is_none_or(|phase| phase.is_open() || phase == Phase::NotDone { never_started: true }) {
                    return illegal();
                }
                Ok(match ruling.verdict {
                    Verdict::Admitted => Phase::Admitted,
                    Verdict::Deferred { until } => Phase::Deferred { until },
                    Verdict::AwaitingApproval { by } => Phase::Awaiting { by },
                    Verdict::Shadowed => Phase::Shadowed,
                    Verdict::Denied => Phase::Denied,
                })
            }
            Record::Act { .. } => {
                if from == Some(Phase::Admitted) {
                    Ok(Phase::InFlight)
                } else {
                    illegal()
                }
            }
            Record::Probe { .. } => {
                if from.is_some_and(Phase::is_running) {
                    Ok(Phase::Probing)
                } else {
                    illegal()
                }
            }
            Record::Closed { closing, .. } => match (from, closing) {
                (Some(phase), Closing::Unresolved) if phase.is_running() => Ok(Phase::Closed { closing: *closing }),
                (Some(phase), Closing::Refused | Closing::Never | Closing::Expired | Closing::Gone) if phase.is_open() => {
                    Ok(Phase::Closed { closing: *closing })
                }
                _ => illegal(),
            },
            Record::Settled { .. } => illegal(),
            Record::Judged { .. } | Record::Scored { .. } | Record::Spent { .. } | Record::Revert { .. } | Record::Run { .. } => {
                from.map_or_else(illegal, Ok)
            }
            Record::Announce(_)
            | Record::Noted(_)
            | Record::Autonomy(_)
            | Record::Drilled(_)
            | Record::Tripped(_)
            | Record::Asked { .. } => from.map_or_else(illegal, Ok),
        }
    }

    /// The phase after the actuator's answer; late answers to an unresolved action are still welcome.
    pub fn settled(self, outcome: &Outcome) -> Result<Phase, String> {
        let late = self == Phase::Closed { closing: Closing::Unresolved };
        match outcome {
            _ if !self.is_running() && !late => Err(format!("an outcome cannot follow {}", self.name())),
            Outcome::Done(_) => Ok(Phase::Done),
            Outcome::NotDone(fault) => Ok(Phase::NotDone { never_started: fault.code == FaultCode::NeverStarted }),
            Outcome::Unknown(_) if late => Ok(self),
            Outcome::Unknown(_) => Ok(Phase::Probing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{Action, ActionId, Autonomy, Class, Fault, Judgement, Lease, Origin, Proposal, Receipt, Ruling, Span};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Record(Record),
        Answer(Outcome),
    }

    fn proposal() -> Box<Proposal> {
        Box::new(Proposal {
            origin: Origin::Operator("test".into()),
            symptom: "-".into(),
            verb: "exec.restart".into(),
            target: "node/a".into(),
            args: Default::default(),
            because: "x".into(),
            evidence: Vec::new(),
            claim: None,
            cooldown: Span::ZERO,
            settle: None,
            autonomy: Autonomy::Auto,
            alternatives: Vec::new(),
        })
    }

    fn action() -> Action {
        Action {
            id: ActionId(1),
            verb: "exec.restart".into(),
            target: "node/a".into(),
            args: Default::default(),
            class: Class::Reversible,
            timeout: Span::ZERO,
            lease: Lease { generation: 1, expires: Time(0) },
            because: "x".into(),
        }
    }

    fn steps() -> impl Strategy<Value = Step> {
        let id = ActionId(1);
        let verdicts = [
            Verdict::Admitted,
            Verdict::Admitted,
            Verdict::Deferred { until: Time(1) },
            Verdict::AwaitingApproval { by: Time(1) },
            Verdict::Shadowed,
            Verdict::Denied,
        ];
        let ruled = prop::sample::select(verdicts.to_vec()).prop_map(move |verdict| {
            Step::Record(Record::Ruled {
                action: id,
                proposal: proposal(),
                ruling: Ruling { verdict, reasons: Vec::new() },
                plan: String::new(),
            })
        });
        let closings = [Closing::Refused, Closing::Expired, Closing::Gone, Closing::Unresolved];
        let closed = prop::sample::select(closings.to_vec())
            .prop_map(move |closing| Step::Record(Record::Closed { action: id, closing, why: String::new() }));
        let codes = [FaultCode::NeverStarted, FaultCode::Failed, FaultCode::TimedOut, FaultCode::Internal];
        let not_done = prop::sample::select(codes.to_vec()).prop_map(|code| Step::Answer(Outcome::NotDone(Fault::new(code, "x", "y"))));
        prop_oneof![
            4 => ruled,
            4 => Just(Step::Record(Record::Act { action: action(), attempt: 1 })),
            1 => Just(Step::Record(Record::Probe { action: id })),
            1 => Just(Step::Record(Record::Revert { action: id, receipt: Receipt::default() })),
            1 => Just(Step::Record(Record::Judged { action: id, judgement: Judgement { held: None, evidence: Vec::new(), text: String::new() } })),
            1 => closed,
            3 => not_done,
            1 => Just(Step::Answer(Outcome::Done(Receipt::default()))),
            1 => Just(Step::Answer(Outcome::Unknown(Fault::new(FaultCode::TimedOut, "x", "y")))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// No journal, however wrong, leads to a second sending: only the actuator's word that nothing was started allows one.
        #[test]
        fn nothing_is_in_flight_twice_without_the_word_that_nothing_was_started(path in prop::collection::vec(steps(), 1..40)) {
            let mut phase: Option<Phase> = None;
            let mut may_send = true;
            for step in path {
                let moved = match &step {
                    Step::Record(record) => Phase::after(phase, record).ok(),
                    Step::Answer(outcome) => phase.and_then(|phase| phase.settled(outcome).ok()),
                };
                let Some(next) = moved else { continue };
                match &step {
                    Step::Record(Record::Act { .. }) => {
                        prop_assert!(may_send, "sent a second time from {phase:?}");
                        prop_assert_eq!(next, Phase::InFlight);
                        may_send = false;
                    }
                    Step::Answer(Outcome::NotDone(fault)) => may_send = fault.code == FaultCode::NeverStarted,
                    Step::Record(_) | Step::Answer(_) => prop_assert!(next != Phase::InFlight || phase == Some(Phase::InFlight), "{phase:?} by {step:?}"),
                }
                phase = Some(next);
            }
        }
    }
}
