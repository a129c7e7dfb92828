//! `proxmox.start`, `proxmox.shutdown`, `proxmox.stop`, `proxmox.migrate`: guests of a Proxmox VE cluster.
//!
//! Every write gives a task's name (UPID); the task is followed on the node that its name holds, and believed only when it exited well
//! *and* the guest is in the wished state. A guest that is so already is left alone; one that the HA manager keeps is refused (the
//! manager would undo it). Deliberately absent: making and deleting guests, and hosts themselves (`power` wakes and stops those). An
//! editor breaks this by taking the answer with the UPID for the end of the task.

mod guest;
#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Ledger, Mark, doing, never_started, probing};
use crate::pace::Pace;
use crate::rest::{self, Call, Credential, READY_TIMEOUT, Service, Session, advised, ended, fault_of, real_limit, unsure};
use guest::{Guest, Seen, Upid};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret,
    Span, Target, Time, Verb, VerbSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The ledger's note of the task.
const TASK: &str = "upid";
/// The ledger's note that a write may have been sent.
const SENDING: &str = "sending";
/// What the token needs.
const RIGHTS: &str = "give the API token (or its user) VM.Audit, VM.PowerMgmt and, to migrate, VM.Migrate on `/vms/<id>`, and Sys.Audit \
    on `/nodes`; privilege separation needs them on the token itself";

/// A Proxmox VE cluster and the guests of it that may be acted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxmoxConfig {
    /// A node's address: `https://pve1.lan:8006`.
    pub url: String,
    /// The token's name: `user@realm!tokenid`.
    pub token_id: String,
    /// The token's secret.
    #[schemars(with = "String")]
    pub token: Secret,
    /// The guests, by name; `db` becomes the target `guest/db`.
    pub guests: BTreeMap<String, GuestConfig>,
    /// How long a guest may take to shut down by itself; whole seconds.
    #[serde(default = "shutdown_default")]
    #[schemars(with = "String")]
    pub shutdown_timeout: Span,
    /// How long a migration may take.
    #[serde(default = "migrate_default")]
    #[schemars(with = "String")]
    pub migrate_timeout: Span,
    /// Between two looks at a task.
    #[serde(default = "poll_default")]
    #[schemars(with = "String")]
    pub poll: Span,
    /// How long a guest needs afterwards before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// One guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestConfig {
    /// Its number.
    pub vmid: u32,
    /// `qemu` for a virtual machine, `lxc` for a container.
    #[serde(default)]
    pub kind: GuestKind,
}

/// What a guest is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestKind {
    /// A virtual machine.
    #[default]
    Qemu,
    /// A container.
    Lxc,
}

fn shutdown_default() -> Span {
    Span::from_mins(2)
}
fn migrate_default() -> Span {
    Span::from_mins(30)
}
fn poll_default() -> Span {
    Span::from_secs(2)
}
fn settle_default() -> Span {
    Span::from_mins(3)
}

/// What can be done to a guest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Deed {
    Start,
    Shutdown,
    Stop,
    Migrate,
}

impl Deed {
    const ALL: [Deed; 4] = [Deed::Start, Deed::Shutdown, Deed::Stop, Deed::Migrate];

    fn name(self) -> &'static str {
        match self {
            Deed::Start => "start",
            Deed::Shutdown => "shutdown",
            Deed::Stop => "stop",
            Deed::Migrate => "migrate",
        }
    }

    /// The state that proves it.
    fn wished(self) -> Option<&'static str> {
        match self {
            Deed::Start => Some("running"),
            Deed::Shutdown | Deed::Stop => Some("stopped"),
            Deed::Migrate => None,
        }
    }
}

/// The actuator `proxmox`.
#[derive(Debug)]
pub struct Proxmox {
    service: Service,
    verbs: Vec<(Deed, VerbSpec)>,
    guests: BTreeMap<Target, GuestConfig>,
    config: ProxmoxConfig,
    pace: Pace,
    ledger: Arc<Ledger>,
}

/// One action, checked.
#[derive(Copy, Clone, Debug)]
struct Task<'a> {
    deed: Deed,
    spec: &'a VerbSpec,
    guest: Guest,
    to: &'a str,
}

impl Task<'_> {
    fn is_so(&self, seen: &Seen) -> bool {
        match self.deed.wished() {
            Some(status) => seen.status == status,
            None => seen.node == self.to,
        }
    }
}

impl Proxmox {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed.
    pub fn new(config: &ProxmoxConfig, ledger: Arc<Ledger>) -> Result<Proxmox, Vec<Fault>> {
        let mut problems = Vec::new();
        if !config.token_id.contains('@') || !config.token_id.contains('!') || config.token_id.contains(['=', ' ']) {
            problems.push(format!("`token_id` is `{}`, expected `user@realm!tokenid`", config.token_id));
        }
        if config.guests.is_empty() || config.guests.values().any(|guest| guest.vmid < 100) {
            problems.push("`guests` must list at least one guest; numbers begin at 100".into());
        }
        if config.guests.keys().any(|name| name.is_empty() || name.contains('/')) {
            problems.push("a guest's name is empty or holds `/`".into());
        }
        if config.poll <= Span::ZERO || config.shutdown_timeout < Span::from_secs(1) || config.migrate_timeout <= Span::ZERO {
            problems.push("`poll` and `migrate_timeout` must be more than 0s, `shutdown_timeout` at least 1s".into());
        }
        let prefix = format!("PVEAPIToken={}=", config.token_id);
        let credential = Credential { header: "authorization".into(), prefix, secret: config.token.clone() };
        match rest::client().and_then(|client| Service::new(&config.url, client, vec![credential])) {
            Ok(service) if problems.is_empty() => {
                let guests: BTreeMap<Target, GuestConfig> =
                    config.guests.iter().map(|(name, guest)| (Target::from(format!("guest/{name}")), guest.clone())).collect();
                let verbs = Deed::ALL.map(|deed| (deed, spec(deed, config, guests.keys().cloned().collect())));
                Ok(Proxmox { service, verbs: verbs.into(), guests, config: config.clone(), pace: Pace::default(), ledger })
            }
            other => {
                problems.extend(other.err());
                Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `proxmox`", text)).collect())
            }
        }
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Proxmox {
        Proxmox { pace, ..self }
    }

    fn task<'a>(&'a self, action: &'a Action) -> Result<Task<'a>, Fault> {
        let specs = || self.verbs.iter().map(|(_, spec)| spec);
        let (deed, spec) = self.verbs.iter().find(|(_, spec)| spec.verb == action.verb).ok_or_else(|| unknown_verb(action, specs()))?;
        check_against(spec, action)?;
        let doing = || format!("check {} {} on {}", action.id, action.verb, action.target);
        let guest =
            self.guests.get(&action.target).ok_or_else(|| Fault::new(FaultCode::NotFound, doing(), format!("no `{}`", action.target)))?;
        let to = action.args.get("to").and_then(Arg::as_text).unwrap_or_default();
        if *deed == Deed::Migrate && (to.is_empty() || !to.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')) {
            return Err(Fault::new(FaultCode::Malformed, doing(), format!("`to` is `{to}`, expected a node's name")));
        }
        Ok(Task { deed: *deed, spec, guest: Guest { vmid: guest.vmid, kind: guest.kind }, to })
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let task = match self.task(action) {
            Ok(task) => task,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let session = match self.service.session(doing, real_limit(self.pace, action.timeout.min(task.spec.timeout))) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(self.act(&session, mark, task, action.args.get("from").and_then(Arg::as_text)).await);
        self.ledger.settle(mark, outcome)
    }

    /// Looks, refuses or acts, follows, looks again.
    async fn act(&self, session: &Session<'_>, mark: Mark, task: Task<'_>, from: Option<&str>) -> Result<Receipt, Outcome> {
        let before = task.guest.look(session).await?;
        if task.is_so(&before) {
            return Ok(Receipt { observed: format!("was already so: {}", before.shown()), ..Receipt::default() });
        }
        if before.is_ha {
            let detail = format!("the HA manager keeps {}: change its wished state there (`ha-manager set`)", before.shown());
            return Err(session.not_done(FaultCode::Conflict, detail));
        }
        if let Some(lock) = &before.lock {
            return Err(session.not_done(FaultCode::Conflict, format!("{} is locked: {lock}", before.shown())));
        }
        if from.is_some_and(|from| from != before.node) {
            let detail = format!("the plan is stale: expected on `{}`, but {}", from.unwrap_or_default(), before.shown());
            return Err(session.not_done(FaultCode::Conflict, detail));
        }
        if task.deed == Deed::Migrate {
            task.guest.may_move(session, &before, task.to).await?;
        }
        let noted = [(SENDING, Arg::Bool(true)), ("node", Arg::Text(before.node.clone()))];
        for (name, value) in noted {
            self.ledger.note(mark, name, value).map_err(|fault| never_started(&session.doing, fault.to_string()))?;
        }
        let call = task.guest.call(task.deed, &before, task.to, self.config.shutdown_timeout);
        let answer = session.send(&call, false).await?;
        let body = answer.json().unwrap_or_default();
        let Some(upid) = body["data"].as_str().and_then(Upid::parse) else {
            return Err(session.unknown(FaultCode::Malformed, format!("no task came back: {}", answer.shown(&session.redactor))));
        };
        if let Err(fault) = self.ledger.note(mark, TASK, Arg::Text(upid.text.clone())) {
            tracing::warn!(%mark, %fault, "The task was not noted; a probe after a crash looks at the guest only.");
        }
        self.follow(session, task, &upid).await?;
        let after = task.guest.look(session).await.map_err(unsure)?;
        if !task.is_so(&after) {
            return Err(session.not_done(FaultCode::Failed, format!("the task exited well, but {}", after.shown())));
        }
        let undo = [("node", before.node), ("status", before.status)];
        let undo = undo.into_iter().map(|(name, text)| (name.to_owned(), Arg::Text(text))).collect();
        Ok(Receipt { observed: after.shown(), undo })
    }

    /// Waits for the task's end; `Ok` if it exited well.
    async fn follow(&self, session: &Session<'_>, task: Task<'_>, upid: &Upid) -> Result<(), Outcome> {
        let mut last = "it was not seen".to_owned();
        while session.has_time() {
            match upid.exit(session).await {
                Ok(None) => last = "it still runs".into(),
                Ok(Some(exit)) if exit == "OK" || exit.starts_with("WARNINGS") => return Ok(()),
                Ok(Some(exit)) => {
                    // "already running" and the like: the world may be as wished all the same.
                    let seen = task.guest.look(session).await.map_err(unsure)?;
                    let failed = session.not_done(FaultCode::Failed, format!("the task ended with `{exit}`; {}", seen.shown()));
                    return if task.is_so(&seen) { Ok(()) } else { Err(failed) };
                }
                Err(outcome) => last = fault_of(outcome).map(|fault| fault.detail).unwrap_or_default(),
            }
            session.pause(self.pace.real(self.config.poll)).await;
        }
        Err(session.unknown(FaultCode::TimedOut, format!("task {} was not seen to end: {last}", upid.text)))
    }

    async fn probed(&self, now: Time, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let task = match self.task(action) {
            Ok(task) => task,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let pending = now.since(started.at) <= task.spec.timeout;
        if !started.notes.contains_key(SENDING) && !pending {
            return never_started(probing(action), "it was begun, but nothing was sent");
        }
        let session = match self.service.session(probing(action), READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        let exit = match started.notes.get(TASK).and_then(Arg::as_text).and_then(Upid::parse) {
            Some(upid) => match upid.exit(&session).await {
                Ok(None) => return session.unknown(FaultCode::TimedOut, format!("task {} still runs", upid.text)),
                Ok(Some(exit)) => Some(exit),
                Err(_) => None, // the node's task list may be gone; the guest tells
            },
            None => None,
        };
        match task.guest.look(&session).await {
            Ok(seen) if task.is_so(&seen) => {
                let undo = started.notes.get("node").map(|node| ("node".to_owned(), node.clone()));
                Outcome::Done(Receipt { observed: seen.shown(), undo: undo.into_iter().collect() })
            }
            Ok(seen) if pending && exit.is_none() => session.unknown(FaultCode::TimedOut, format!("not so yet: {}", seen.shown())),
            Ok(seen) => {
                let exit = exit.map(|exit| format!("the task ended with `{exit}`; ")).unwrap_or_default();
                session.not_done(FaultCode::Failed, format!("{exit}{}", seen.shown()))
            }
            Err(outcome) => unsure(outcome),
        }
    }

    /// The inverse call, if the guest is still as we left it.
    async fn take_back(&self, now: Time, action: &Action, receipt: &Receipt) -> Outcome {
        let mark = Mark::Revert(action.id);
        let doing = doing(mark, action);
        let task = match self.task(action) {
            Ok(task) => task,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let node = receipt.undo.get("node").and_then(Arg::as_text);
        let inverse = match (task.deed, node) {
            (_, None) => return never_started(doing, "the receipt names no earlier state: nothing was changed"),
            (Deed::Start, _) => Task { deed: Deed::Shutdown, ..task },
            (Deed::Shutdown | Deed::Stop, _) => Task { deed: Deed::Start, ..task },
            (Deed::Migrate, Some(node)) => Task { to: node, ..task },
        };
        let session = match self.service.session(doing, real_limit(self.pace, task.spec.timeout)) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let from = (task.deed == Deed::Migrate).then_some(task.to);
        let outcome = ended(self.act(&session, mark, inverse, from).await);
        self.ledger.settle(mark, outcome)
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let asked = async {
            let session = self.service.session("ask Proxmox about the guests", READY_TIMEOUT)?;
            for guest in self.guests.values() {
                Guest { vmid: guest.vmid, kind: guest.kind }.look(&session).await?;
            }
            Ok(())
        };
        let fault = asked.await.err().and_then(fault_of).map(|fault| advised(fault, RIGHTS));
        fault.map_or_else(Vec::new, |fault| self.verbs.iter().map(|(_, spec)| (spec.verb.clone(), fault.clone())).collect())
    }
}

impl Actuator for Proxmox {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "proxmox".into(), verbs: self.verbs.iter().map(|(_, spec)| spec.clone()).collect() }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.task(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let task = self.task(action)?;
        let foreseen = Seen { node: "<its node>".into(), status: String::new(), is_ha: false, lock: None, vmid: task.guest.vmid };
        let mut calls = vec![guest::resources(), task.guest.current(&foreseen.node)];
        if task.deed == Deed::Migrate {
            calls.push(task.guest.precheck(&foreseen.node, task.to));
        }
        calls.push(task.guest.call(task.deed, &foreseen, task.to, self.config.shutdown_timeout));
        calls.push(Call::get(["api2", "json", "nodes", &foreseen.node, "tasks", "<upid>", "status"]));
        Ok(calls.iter().map(|call| self.service.planned(call)).collect())
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.probed(now, action))
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(self.take_back(now, action, receipt))
    }
}

fn spec(deed: Deed, config: &ProxmoxConfig, targets: Vec<Target>) -> VerbSpec {
    let (class, opposite, timeout, doc) = match deed {
        Deed::Start => (Class::Restore, Some("proxmox.shutdown"), Span::from_mins(5), "Starts a guest."),
        Deed::Shutdown => {
            let allowed = config.shutdown_timeout + Span::from_mins(1);
            (Class::Disruptive, Some("proxmox.start"), allowed, "Asks a guest to shut down and waits until it is stopped.")
        }
        Deed::Stop => (Class::Disruptive, Some("proxmox.start"), Span::from_mins(2), "Stops a guest at once, as if its plug was pulled."),
        Deed::Migrate => (Class::Reversible, None, config.migrate_timeout, "Moves a guest to another node, running if it runs."),
    };
    let text = |name: &str, required: bool, doc: &str| ArgSpec { name: name.into(), kind: ArgKind::Text(63), required, doc: doc.into() };
    let args = match deed {
        Deed::Migrate => vec![text("to", true, "The node it goes to."), text("from", false, "The node it must be on now.")],
        _ => Vec::new(),
    };
    let disruption = match deed {
        Deed::Start => Span::ZERO,
        Deed::Shutdown | Deed::Stop => Span::from_mins(10),
        Deed::Migrate => Span::from_secs(2),
    };
    VerbSpec {
        verb: format!("proxmox.{}", deed.name()).into(),
        class,
        args,
        target_kinds: vec!["guest".into()],
        targets: Some(targets),
        opposite: opposite.map(Verb::from),
        settle: config.settle,
        timeout,
        revertible: true,
        cost: Cost { disruption, energy_joules: 0.0, ..Cost::default() },
        doc: doc.into(),
    }
}
