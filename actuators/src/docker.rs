//! `docker.restart`: a container of a Docker (or Podman) daemon, restarted and seen to be well again.
//!
//! Speaks the daemon's HTTP API over its socket or TCP, in a version both sides know (`GET /version` first). A restart is proven by a
//! `State.StartedAt` that is not the one read before, and by `running` and, where the image has a health check, `healthy`.
//! Deliberately absent: everything else the socket can do (it is as good as root: put a filtering proxy in front), and containers
//! that are not listed. An editor breaks this by comparing `StartedAt` with this machine's clock instead of with what it was.

#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::client;
use crate::ledger::{Ledger, Mark, doing, never_started, not_revertible, probing};
use crate::pace::Pace;
use crate::rest::{Call, READY_TIMEOUT, Service, Session, advised, ended, fault_of, real_limit, unsure};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Span, Target, Time, Verb,
    VerbSpec,
};
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// The newest version of the API that this file was written against.
const API_VERSION: (u32, u32) = (1, 51);
/// The ledger's note of `StartedAt` before the restart; also the sign that it may have been sent.
const BEFORE: &str = "started_at_before";
/// What the daemon's proxy must allow.
const RIGHTS: &str = "let this user use the socket (group `docker`), or have the filtering proxy allow GET /version, \
    GET /containers/<name>/json and POST /containers/<name>/restart";

/// A Docker daemon and the containers of it that may be restarted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DockerConfig {
    /// Where the daemon listens: `unix:///var/run/docker.sock`, `tcp://host:2375`, or `https://host` of a proxy in front of it.
    #[serde(default = "address_default")]
    pub address: String,
    /// The containers, by name; `web` becomes the target `container/web`.
    pub containers: Vec<String>,
    /// How long a container may take to stop before it is killed; whole seconds.
    #[serde(default = "stop_timeout_default")]
    #[schemars(with = "String")]
    pub stop_timeout: Span,
    /// How long all may take: stopping, starting, becoming healthy.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Between two looks at the container.
    #[serde(default = "poll_default")]
    #[schemars(with = "String")]
    pub poll: Span,
    /// How long a restarted container needs before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

fn address_default() -> String {
    "unix:///var/run/docker.sock".into()
}
fn stop_timeout_default() -> Span {
    Span::from_secs(10)
}
fn timeout_default() -> Span {
    Span::from_mins(3)
}
fn poll_default() -> Span {
    Span::from_secs(1)
}
fn settle_default() -> Span {
    Span::from_mins(2)
}

/// The actuator `docker`.
#[derive(Debug)]
pub struct Docker {
    service: Service,
    spec: VerbSpec,
    config: DockerConfig,
    pace: Pace,
    ledger: Arc<Ledger>,
}

/// What an inspection tells.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    status: String,
    health: Option<String>,
    started_at: String,
}

impl Seen {
    fn read(body: &Value) -> Option<Seen> {
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let health = text("/State/Health/Status").filter(|status| status != "none" && !status.is_empty());
        Some(Seen { status: text("/State/Status")?, health, started_at: text("/State/StartedAt")? })
    }

    /// Whether it runs and is not known to be ill.
    fn is_well(&self) -> bool {
        self.status == "running" && self.health.as_deref().is_none_or(|health| health == "healthy")
    }

    fn shown(&self) -> String {
        let health = self.health.as_deref().unwrap_or("without a health check");
        format!("{}, {health}, started at {}", self.status, self.started_at)
    }
}

impl Docker {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed.
    pub fn new(config: &DockerConfig, ledger: Arc<Ledger>) -> Result<Docker, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.containers.is_empty() {
            problems.push("`containers` is empty: list what may be restarted".into());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        for name in &config.containers {
            if name.is_empty() || !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                problems.push(format!("`{name}` is not a container's name"));
            }
        }
        if config.stop_timeout < Span::ZERO || config.stop_timeout >= config.timeout || config.poll <= Span::ZERO {
            problems.push("`stop_timeout` must be shorter than `timeout`, and `poll` more than 0s".into());
        }
        let service = service(&config.address).map_err(|problem| problems.push(problem)).ok();
        match service {
            Some(service) if problems.is_empty() => {
                Ok(Docker { service, spec: restart_spec(config), config: config.clone(), pace: Pace::default(), ledger })
            }
            _ => Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `docker`", text)).collect()),
        }
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Docker {
        Docker { pace, ..self }
    }

    fn accept(&self, action: &Action) -> Result<(), Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)
    }

    async fn run(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        if let Err(fault) = self.accept(action) {
            return never_started(doing, fault.detail);
        }
        let session = match self.service.session(doing, real_limit(self.pace, action.timeout.min(self.spec.timeout))) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(self.restart(&session, action).await);
        self.ledger.settle(mark, outcome)
    }

    async fn restart(&self, session: &Session<'_>, action: &Action) -> Result<Receipt, Outcome> {
        let version = negotiate(session).await?;
        let name = action.target.name();
        let before = inspect(session, &version, name).await?;
        if matches!(before.status.as_str(), "paused" | "removing" | "dead") {
            let detail = format!("container `{name}` is {}: a restart would change what somebody decided", before.status);
            return Err(session.not_done(FaultCode::Conflict, detail));
        }
        if let Err(fault) = self.ledger.note(Mark::Apply(action.id), BEFORE, Arg::Text(before.started_at.clone())) {
            return Err(never_started(&session.doing, fault.to_string()));
        }
        session.send(&self.restart_call(&version, name), false).await?;
        self.watch(session, &version, name, &before.started_at).await
    }

    /// Looks until the container runs anew and is well.
    async fn watch(&self, session: &Session<'_>, version: &str, name: &str, before: &str) -> Result<Receipt, Outcome> {
        let mut last = String::from("nothing was seen");
        let mut is_ill = false;
        while session.has_time() {
            match inspect(session, version, name).await {
                Ok(seen) if seen.started_at != before && seen.is_well() => {
                    return Ok(Receipt { observed: format!("container `{name}` is {}", seen.shown()), ..Receipt::default() });
                }
                Ok(seen) => {
                    last = seen.shown();
                    let restarted = seen.started_at != before;
                    is_ill = (restarted && seen.health.as_deref() == Some("unhealthy")) || seen.status == "exited";
                }
                Err(outcome) => last = fault_of(outcome).map(|fault| fault.detail).unwrap_or_default(),
            }
            session.pause(self.pace.real(self.config.poll)).await;
        }
        let detail = format!("the restart was sent; container `{name}` did not become well in time: {last}");
        // Restarted and ill is known; still starting, or not seen, is not.
        Err(if is_ill { session.not_done(FaultCode::Failed, detail) } else { session.unknown(FaultCode::TimedOut, detail) })
    }

    fn restart_call(&self, version: &str, name: &str) -> Call {
        let call = Call::new(Method::POST, [version, "containers", name, "restart"]);
        call.with_query("t", (self.config.stop_timeout.millis() / 1000).to_string())
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let pending = now.since(started.at) <= self.spec.timeout;
        let Some(before) = started.notes.get(BEFORE).and_then(Arg::as_text) else {
            let doing = probing(action);
            return if pending {
                Outcome::Unknown(Fault::new(FaultCode::Conflict, doing, "it was begun just now; the restart was not sent yet"))
            } else {
                never_started(doing, "it was begun, but the restart was never sent")
            };
        };
        let session = match self.service.session(probing(action), READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        let name = action.target.name();
        let seen = match negotiate(&session).await {
            Ok(version) => inspect(&session, &version, name).await,
            Err(outcome) => Err(outcome),
        };
        match seen {
            Err(outcome) => unsure(outcome),
            Ok(seen) if seen.started_at != before && seen.is_well() => {
                Outcome::Done(Receipt { observed: format!("container `{name}` is {}", seen.shown()), ..Receipt::default() })
            }
            Ok(seen) if pending => session.unknown(FaultCode::TimedOut, format!("not well yet: {}", seen.shown())),
            Ok(seen) => session.not_done(FaultCode::Failed, format!("container `{name}` is {}; before: {before}", seen.shown())),
        }
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let mut faults = Vec::new();
        let mut add = |outcome: Outcome| {
            let fault = fault_of(outcome).map(|fault| advised(fault, RIGHTS));
            faults.extend(fault.map(|fault| (self.spec.verb.clone(), fault)));
        };
        let asked = async {
            let session = self.service.session("ask the docker daemon", READY_TIMEOUT)?;
            let version = negotiate(&session).await?;
            for name in &self.config.containers {
                inspect(&session, &version, name).await?;
            }
            Ok(())
        };
        if let Err(outcome) = asked.await {
            add(outcome);
        }
        faults
    }
}

/// The version of the API that both sides know, as the path's first segment.
async fn negotiate(session: &Session<'_>) -> Result<String, Outcome> {
    let body = session.fetch(&Call::get(["version"])).await?;
    let number = |name: &str| {
        let (major, minor) = body.get(name)?.as_str()?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let Some(newest) = number("ApiVersion") else {
        return Err(session.not_done(FaultCode::Malformed, "GET /version tells no `ApiVersion`: is this a Docker daemon?"));
    };
    let oldest = number("MinAPIVersion").unwrap_or((1, 0));
    if oldest > API_VERSION {
        let (ours, theirs) = (API_VERSION.1, oldest.1);
        return Err(session.not_done(FaultCode::Malformed, format!("the daemon speaks 1.{theirs} and newer, this actuator up to 1.{ours}")));
    }
    let (major, minor) = newest.min(API_VERSION);
    Ok(format!("v{major}.{minor}"))
}

async fn inspect(session: &Session<'_>, version: &str, name: &str) -> Result<Seen, Outcome> {
    let call = Call::get([version, "containers", name, "json"]);
    let Some(body) = session.find(&call).await? else {
        return Err(session.not_done(FaultCode::NotFound, format!("there is no container `{name}` here")));
    };
    Seen::read(&body).ok_or_else(|| session.not_done(FaultCode::Malformed, "the inspection has no State.Status or State.StartedAt"))
}

/// The daemon behind an address.
fn service(address: &str) -> Result<Service, String> {
    let client = |socket: Option<&Path>| client::client_at(socket).map_err(|fault| fault.detail);
    if let Some(path) = address.strip_prefix("unix://") {
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(format!("`address` is `{address}`, expected `unix:///absolute/path`"));
        }
        return Service::new("http://localhost", client(Some(path))?, Vec::new());
    }
    let base = address.strip_prefix("tcp://").map_or_else(|| address.to_owned(), |rest| format!("http://{rest}"));
    Service::new(&base, client(None)?, Vec::new())
}

impl Actuator for Docker {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "docker".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.accept(action)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        self.accept(action)?;
        let (version, name) = ("v{negotiated}", action.target.name());
        let restart = self.restart_call(version, name);
        let calls = [Call::get(["version"]), Call::get([version, "containers", name, "json"]), restart];
        Ok(calls.iter().map(|call| self.service.planned(call)).collect())
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.run(now, action))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(now, action))
    }

    fn revert<'a>(&'a self, _now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async { not_revertible(action, "a restart has no opposite") })
    }
}

fn restart_spec(config: &DockerConfig) -> VerbSpec {
    VerbSpec {
        verb: "docker.restart".into(),
        class: Class::Disruptive,
        args: Vec::new(),
        target_kinds: vec!["container".into()],
        targets: Some(config.containers.iter().map(|name| Target::from(format!("container/{name}"))).collect()),
        opposite: None,
        settle: config.settle,
        timeout: config.timeout,
        revertible: false,
        cost: Cost { disruption: config.stop_timeout + Span::from_secs(10), energy_joules: 0.0, ..Cost::default() },
        doc: "Restarts a container and waits until it runs anew and is healthy.".into(),
    }
}
