//! A daemon inside this process: real kernel thread, real queue, real journal on disk; its one actuator notes when it was called.

use homeostat::clock::SystemClock;
use homeostat::journal::JournalSettings;
use homeostat::live::{self, Daemon, MakeSensor, Parts};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, ArbiterSettings, ArgKind, ArgSpec, Autonomy, BoxFuture, Class, Fault, FaultCode, Outcome, PolicySource,
    Receipt, RuleSet, Span, Time, VerbSpec,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// When an action arrived at the far end: its title and the moment.
pub type Arrived = (String, Instant);

/// An actuator that is told, and tells at once that it is done.
struct Told {
    spec: ActuatorSpec,
    arrived: UnboundedSender<Arrived>,
}

impl Actuator for Told {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }
    fn check(&self, _: &Action) -> Result<(), Fault> {
        Ok(())
    }
    fn apply<'a>(&'a self, _: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        let at = Instant::now();
        let title = action.args.get("title").and_then(|title| title.as_text()).unwrap_or_default().to_owned();
        // Nobody listens where only the count matters.
        let _ = self.arrived.send((title, at));
        Box::pin(async move { Outcome::Done(Receipt { observed: "told".into(), undo: Default::default() }) })
    }
    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        self.apply(now, action)
    }
    fn revert<'a>(&'a self, _: Time, action: &'a Action, _: &'a Receipt) -> BoxFuture<'a, Outcome> {
        let fault = Fault::new(FaultCode::NotFound, format!("revert {}", action.verb), "a message cannot be taken back");
        Box::pin(async move { Outcome::NotDone(fault) })
    }
}

fn spec() -> ActuatorSpec {
    let text = |name: &str, required| ArgSpec { name: name.into(), kind: ArgKind::Text(1000), required, doc: "Words.".into() };
    let verb = VerbSpec {
        verb: "notify.send".into(),
        class: Class::Notify,
        args: vec![text("title", true), text("text", false)],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_secs(10),
        revertible: false,
        cost: Default::default(),
        doc: "Tells.".into(),
    };
    ActuatorSpec { id: "notify".into(), verbs: vec![verb] }
}

/// Settings under which no budget holds what is measured.
fn easy() -> ArbiterSettings {
    ArbiterSettings {
        autonomy: Class::ALL.into_iter().map(|class| (class, Autonomy::Auto)).collect(),
        observer_fault_targets_min: usize::MAX,
        concurrent_max: Class::ALL.into_iter().map(|class| (class, u32::MAX)).collect(),
        per_hour_max: Class::ALL.into_iter().map(|class| (class, u32::MAX)).collect(),
        ..ArbiterSettings::default()
    }
}

/// A rule set of these policies.
pub fn rules(policies: &[(String, String)]) -> RuleSet {
    let source = |(name, text): &(String, String)| PolicySource {
        id: name.as_str().into(),
        path: format!("{name}.rhai"),
        text: text.clone(),
        overrides: Default::default(),
    };
    RuleSet { policies: policies.iter().map(source).collect(), actuators: vec![spec()], arbiter: easy(), ..RuleSet::default() }
}

/// Starts the daemon; arrivals come out of the receiver.
pub fn start(dir: &Path, sensors: Vec<MakeSensor>, rules: RuleSet) -> (Daemon, UnboundedReceiver<Arrived>) {
    let (arrived, arrivals) = unbounded_channel();
    let daemon = live::start(Parts {
        dir: dir.to_owned(),
        clock: Arc::new(SystemClock::default()),
        sensors,
        actuators: vec![Arc::new(Told { spec: spec(), arrived })],
        announce: Arc::new(|_| Box::pin(async {})),
        think: None,
        rules,
        journal: JournalSettings::default(),
        seed: 1,
        opened: None,
    });
    (daemon.expect("the daemon starts"), arrivals)
}

/// A runtime like the daemon's.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made")
}
