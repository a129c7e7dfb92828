//! Sends what was admitted, and brings back what the actuators know. The one place where `apply`, `probe` and `revert` are called.
//!
//! Each action runs in a task of its own, within its timeout; a panic in an actuator is caught and is an outcome that nobody
//! knows. The answer is handed in until the driver has taken it: an outcome must not be lost. An editor breaks this by calling an
//! actuator with anything but what came out of an [`Effect`].

use crate::clock::Clock;
use crate::live::Handle;
use crate::reasoning::Think;
use homeostat_kernel::Effect;
use homeostat_model::{
    Action, Actuator, Advice, BoxFuture, Brief, Event, Fault, FaultCode, Notice, Outcome, QuestionId, Receipt, Span, Time, TokenUsage,
};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How much longer than the action's own timeout the driver waits for an actuator that should have given up by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait before an outcome is handed in again where the driver's queue is full.
const HAND_IN_AGAIN: Duration = Duration::from_millis(50);

/// Tells people; never fails.
pub type Announce = Arc<dyn Fn(Notice) -> BoxFuture<'static, ()> + Send + Sync>;

/// The actuators and the way back.
#[derive(Clone)]
pub struct Dispatcher {
    actuators: Arc<[Arc<dyn Actuator>]>,
    announce: Announce,
    think: Option<Think>,
    clock: Arc<dyn Clock>,
    handle: Handle,
}

enum Call<'a> {
    Apply,
    Probe,
    Revert(&'a Receipt),
}

impl Call<'_> {
    fn name(&self) -> &'static str {
        match self {
            Call::Apply => "apply",
            Call::Probe => "probe",
            Call::Revert(_) => "revert",
        }
    }
}

impl Dispatcher {
    /// A dispatcher over these actuators.
    pub fn new(
        actuators: Arc<[Arc<dyn Actuator>]>,
        announce: Announce,
        think: Option<Think>,
        clock: Arc<dyn Clock>,
        handle: Handle,
    ) -> Dispatcher {
        Dispatcher { actuators, announce, think, clock, handle }
    }

    /// Sends an effect; returns at once.
    pub fn send(&self, effect: Effect) {
        let this = self.clone();
        match effect {
            Effect::Act(admitted) => {
                tokio::spawn(async move {
                    let outcome = this.call(admitted.action(), Call::Apply).await;
                    this.hand_in(Event::Settled(admitted.action().id, outcome)).await;
                });
            }
            Effect::Probe(action) => {
                tokio::spawn(async move {
                    let outcome = this.call(&action, Call::Probe).await;
                    this.hand_in(Event::Settled(action.id, outcome)).await;
                });
            }
            Effect::Revert(reverting) => {
                tokio::spawn(async move {
                    let outcome = this.call(reverting.action(), Call::Revert(reverting.receipt())).await;
                    this.hand_in(Event::Reverted(reverting.action().id, outcome)).await;
                });
            }
            Effect::Question { id, brief } => {
                tokio::spawn(async move {
                    let advice = this.thought(id, brief).await;
                    this.hand_in(Event::Advised(Box::new(advice))).await;
                });
            }
            Effect::Announce(notice) => {
                tokio::spawn((self.announce)(notice));
            }
            Effect::Record(_) => {}
        }
    }

    /// What models say to a question; nothing of it is an order. A panic is an answer that nobody gave.
    async fn thought(&self, question: QuestionId, brief: Box<Brief>) -> Advice {
        let nobody = |fault: String| Advice {
            question,
            answer: None,
            fault,
            needs: None,
            looks: Vec::new(),
            prompt_hash: String::new(),
            usage: TokenUsage::default(),
            cost_euros: 0.0,
            latency: Span::ZERO,
        };
        match &self.think {
            None => nobody("no reasoner is configured".into()),
            Some(think) => match Caught(think(self.handle.clone(), question, brief)).await {
                Ok(advice) => advice,
                Err(panic) => nobody(format!("thinking about it panicked: {panic}")),
            },
        }
    }

    async fn call(&self, action: &Action, call: Call<'_>) -> Outcome {
        let now = self.clock.now();
        let Some(actuator) = self.actuators.iter().find(|actuator| knows(actuator.as_ref(), action)) else {
            let fault =
                Fault::new(FaultCode::NeverStarted, format!("send {}", action.verb), "no configured actuator has this verb any more");
            return Outcome::NotDone(fault);
        };
        let (future, limit): (Pin<Box<dyn Future<Output = Outcome> + Send + '_>>, Duration) = match call {
            Call::Apply => match refusal(actuator.as_ref(), now, action) {
                Some(fault) => return Outcome::NotDone(fault),
                None => (actuator.apply(now, action), self.clock.patience(action.timeout) + GRACE),
            },
            Call::Probe => (actuator.probe(now, action), PROBE_TIMEOUT),
            Call::Revert(receipt) => (actuator.revert(now, action, receipt), self.clock.patience(action.timeout) + GRACE),
        };
        let doing = format!("{} {} on {}", call.name(), action.verb, action.target);
        match tokio::time::timeout(limit, Caught(future)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Outcome::Unknown(Fault::new(FaultCode::Internal, doing, format!("the actuator panicked: {panic}"))),
            Err(_) => Outcome::Unknown(Fault::new(FaultCode::TimedOut, doing, format!("no answer within {} s", limit.as_secs()))),
        }
    }

    async fn hand_in(&self, event: Event) {
        loop {
            match self.handle.submit(event.clone()).await {
                Ok(()) | Err(crate::live::Refused::Stopping) => return,
                // Full, or the journal cannot be written now: after a restart the action would be probed, so trying on is safe.
                Err(_) => tokio::time::sleep(HAND_IN_AGAIN).await,
            }
        }
    }
}

fn knows(actuator: &dyn Actuator, action: &Action) -> bool {
    actuator.spec().verbs.iter().any(|verb| verb.verb == action.verb)
}

fn refusal(actuator: &dyn Actuator, now: Time, action: &Action) -> Option<Fault> {
    if now > action.lease.expires {
        let detail = format!("the lease ended {} ago", now.since(action.lease.expires));
        return Some(Fault::new(FaultCode::NeverStarted, format!("send {}", action.verb), detail));
    }
    match catch_unwind(AssertUnwindSafe(|| actuator.check(action))) {
        Ok(checked) => checked.err().map(|fault| Fault::new(FaultCode::NeverStarted, fault.while_doing, fault.detail)),
        Err(_) => Some(Fault::new(FaultCode::NeverStarted, format!("check {}", action.verb), "the actuator panicked")),
    }
}

/// A future whose panic is a value.
pub struct Caught<'a, T>(pub Pin<Box<dyn Future<Output = T> + Send + 'a>>);

impl<T> Future for Caught<'_, T> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|t| (*t).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
                Poll::Ready(Err(text.unwrap_or_else(|| "no message".into())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{ActionId, ActuatorSpec, Args, Class, Lease, Span};

    /// Checks as it is told, and can do nothing.
    struct Fussy(fn() -> Result<(), Fault>);

    impl Actuator for Fussy {
        fn spec(&self) -> ActuatorSpec {
            ActuatorSpec { id: "exec".into(), verbs: Vec::new() }
        }
        fn check(&self, _action: &Action) -> Result<(), Fault> {
            (self.0)()
        }
        fn apply<'a>(&'a self, _now: Time, _action: &'a Action) -> BoxFuture<'a, Outcome> {
            unreachable!("a test of what is asked before")
        }
        fn probe<'a>(&'a self, _now: Time, _action: &'a Action) -> BoxFuture<'a, Outcome> {
            unreachable!("a test of what is asked before")
        }
        fn revert<'a>(&'a self, _now: Time, _action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
            unreachable!("a test of what is asked before")
        }
    }

    fn action(expires: Time) -> Action {
        Action {
            id: ActionId(1),
            verb: "exec.restart".into(),
            target: "node/a".into(),
            args: Args::new(),
            class: Class::Reversible,
            timeout: Span::from_secs(10),
            lease: Lease { generation: 1, expires },
            because: "a test".into(),
        }
    }

    #[test]
    fn lesson_02_a_plan_whose_time_is_over_is_not_sent() {
        let willing = Fussy(|| Ok(()));
        let expires = Time(60_000);
        assert_eq!(refusal(&willing, expires, &action(expires)), None, "at the last moment");
        let late = refusal(&willing, Time(90_000), &action(expires)).expect("it is late");
        assert_eq!((late.code, late.detail.as_str()), (FaultCode::NeverStarted, "the lease ended 30s ago"));
    }

    #[test]
    fn what_an_actuator_does_not_take_or_panics_at_never_started() {
        let refuses = Fussy(|| Err(Fault::new(FaultCode::NotFound, "check", "there is no such node")));
        let fault = refusal(&refuses, Time(0), &action(Time(1))).expect("it is refused");
        assert_eq!((fault.code, fault.detail.as_str()), (FaultCode::NeverStarted, "there is no such node"));
        let panics = Fussy(|| panic!("a test"));
        let fault = refusal(&panics, Time(0), &action(Time(1))).expect("it is refused");
        assert_eq!((fault.code, fault.detail.as_str()), (FaultCode::NeverStarted, "the actuator panicked"));
    }
}
