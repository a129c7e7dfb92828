//! `home-assistant.call`: one of the configured services of Home Assistant, believed when the entity's state says so.
//!
//! The service call answers with the states that changed, which may be none or others', so only `GET /api/states/<entity>` counts.
//! Deliberately absent: services that are not configured, and `POST /api/states`, which fakes a state. An editor breaks this by taking
//! an empty list for a failure, or 200 for a success.

#[cfg(test)]
mod tests;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Ledger, Mark, doing, never_started, not_revertible, probing};
use crate::pace::Pace;
use crate::rest::{self, Call, Credential, READY_TIMEOUT, Service, Session, advised, ended, fault_of, real_limit, unsure};
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, BoxFuture, Class, Cost, Fault, FaultCode, Outcome, Planned, Receipt, Secret, Span, Target, Time,
    Verb, VerbSpec,
};
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The ledger's note of the state before the call; also the sign that it may have been sent.
const BEFORE: &str = "state_before";

/// A Home Assistant and the services of it that may be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HomeAssistantConfig {
    /// Its address: `http://ha.lan:8123`.
    pub url: String,
    /// A long-lived access token.
    #[schemars(with = "String")]
    pub token: Secret,
    /// The calls, by name; `nas-plug-on` becomes the target `service/nas-plug-on`.
    pub calls: BTreeMap<String, ServiceCallConfig>,
    /// How much they can hurt: the worst of them.
    #[serde(default = "class_default")]
    #[schemars(with = "String")]
    pub class: Class,
    /// How long a call may take until the state is as expected.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// Between two looks at the state.
    #[serde(default = "poll_default")]
    #[schemars(with = "String")]
    pub poll: Span,
    /// How long the world needs afterwards before symptoms mean anything again.
    #[serde(default)]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceCallConfig {
    /// `domain.service`, such as `switch.turn_on`.
    pub service: String,
    /// The entity, such as `switch.nas_plug`.
    pub entity: String,
    /// The state that proves it, such as `on`.
    pub expect: String,
    /// More of the service's data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Value>,
    /// The service that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revert_service: Option<String>,
    /// Only while another entity's number is below a bound: a plug is cut only when nothing behind it draws power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_below: Option<BelowConfig>,
}

/// An entity whose state is a number, and its bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BelowConfig {
    /// The entity, such as `sensor.nas_plug_power`.
    pub entity: String,
    /// Its state must be a number below this.
    pub below: f64,
}

fn class_default() -> Class {
    Class::Disruptive
}
fn timeout_default() -> Span {
    Span::from_secs(30)
}
fn poll_default() -> Span {
    Span::from_secs(1)
}

/// The actuator `home-assistant`.
#[derive(Debug)]
pub struct HomeAssistant {
    service: Service,
    spec: VerbSpec,
    calls: BTreeMap<Target, ServiceCallConfig>,
    poll: Span,
    pace: Pace,
    ledger: Arc<Ledger>,
}

impl HomeAssistant {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed.
    pub fn new(config: &HomeAssistantConfig, ledger: Arc<Ledger>) -> Result<HomeAssistant, Vec<Fault>> {
        let mut problems = Vec::new();
        if config.calls.is_empty() || config.timeout <= Span::ZERO || config.poll <= Span::ZERO {
            problems.push("`calls` must list at least one call; `timeout` and `poll` must be more than 0s".to_owned());
        }
        for (name, call) in &config.calls {
            let below = call.only_below.as_ref().map(|below| &below.entity);
            for id in [Some(&call.service), Some(&call.entity), call.revert_service.as_ref(), below].into_iter().flatten() {
                if !is_id(id) {
                    problems.push(format!("call `{name}`: `{id}` is not `domain.name`"));
                }
            }
            if matches!(call.expect.as_str(), "" | "unavailable" | "unknown") || call.data.contains_key("entity_id") {
                problems.push(format!("call `{name}`: `expect` must be a state that proves something, and `data` holds no `entity_id`"));
            }
        }
        let credentials = vec![Credential::authorization("Bearer", &config.token)];
        match rest::client().and_then(|client| Service::new(&config.url, client, credentials)) {
            Ok(service) if problems.is_empty() => {
                let calls: BTreeMap<Target, ServiceCallConfig> =
                    config.calls.iter().map(|(name, call)| (Target::from(format!("service/{name}")), call.clone())).collect();
                let spec = call_spec(config, calls.keys().cloned().collect());
                Ok(HomeAssistant { service, spec, calls, poll: config.poll, pace: Pace::default(), ledger })
            }
            other => {
                problems.extend(other.err());
                Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `home_assistant`", text)).collect())
            }
        }
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> HomeAssistant {
        HomeAssistant { pace, ..self }
    }

    fn call(&self, action: &Action) -> Result<&ServiceCallConfig, Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)?;
        let missing = || Fault::new(FaultCode::NotFound, format!("check {} {}", action.id, action.verb), format!("no `{}`", action.target));
        self.calls.get(&action.target).ok_or_else(missing)
    }

    /// Sends `apply`'s or `revert`'s service call, once per mark. `wanted` is the state that proves it, `from` the one it must be in now.
    async fn run(&self, now: Time, action: &Action, mark: Mark, service: &str, wanted: &str, from: Option<&str>) -> Outcome {
        let doing = doing(mark, action);
        let call = match self.call(action) {
            Ok(call) => call,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let session = match self.service.session(doing, real_limit(self.pace, action.timeout.min(self.spec.timeout))) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = ended(self.act(&session, mark, call, service, wanted, from).await);
        self.ledger.settle(mark, outcome)
    }

    async fn act(
        &self,
        session: &Session<'_>,
        mark: Mark,
        call: &ServiceCallConfig,
        service: &str,
        wanted: &str,
        from: Option<&str>,
    ) -> Result<Receipt, Outcome> {
        let before = state(session, &call.entity).await?;
        let said = |state: &str| format!("`{}` is `{state}`", call.entity);
        if before == wanted {
            return Ok(Receipt { observed: format!("was already so: {}", said(&before)), ..Receipt::default() });
        }
        if matches!(before.as_str(), "unavailable" | "unknown") {
            return Err(session.not_done(FaultCode::Failed, format!("{}: the device cannot be reached", said(&before))));
        }
        if from.is_some_and(|from| from != before) {
            return Err(session.not_done(FaultCode::Conflict, format!("{}: somebody changed it since", said(&before))));
        }
        if let (Mark::Apply(_), Some(guard)) = (mark, &call.only_below) {
            let found = state(session, &guard.entity).await?;
            if found.parse::<f64>().ok().is_none_or(|value| !value.is_finite() || value >= guard.below) {
                let detail = format!("`{}` is `{found}`, expected a number below {}", guard.entity, guard.below);
                return Err(session.not_done(FaultCode::Conflict, detail));
            }
        }
        let noted = self.ledger.note(mark, BEFORE, Arg::Text(before.clone()));
        noted.map_err(|fault| never_started(&session.doing, fault.to_string()))?;
        session.send(&service_call(call, service), false).await?;
        let mut last = String::new();
        while session.has_time() {
            match state(session, &call.entity).await {
                Ok(now) if now == wanted => {
                    return Ok(Receipt { observed: said(&now), undo: [("state".to_owned(), Arg::Text(before))].into() });
                }
                Ok(now) => last = said(&now),
                Err(outcome) => last = fault_of(outcome).map(|fault| fault.detail).unwrap_or_default(),
            }
            session.pause(self.pace.real(self.poll)).await;
        }
        Err(session.unknown(FaultCode::TimedOut, format!("the service was called; `{wanted}` was not seen in time: {last}")))
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let started = match self.ledger.open_end(action) {
            Ok(started) => started,
            Err(answer) => return answer,
        };
        let call = match self.call(action) {
            Ok(call) => call,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let pending = now.since(started.at) <= self.spec.timeout;
        let Some(before) = started.notes.get(BEFORE) else {
            let doing = probing(action);
            return match pending {
                true => Outcome::Unknown(Fault::new(FaultCode::Conflict, doing, "it was begun just now; nothing was sent yet")),
                false => never_started(doing, "it was begun, but nothing was sent"),
            };
        };
        let session = match self.service.session(probing(action), READY_TIMEOUT) {
            Ok(session) => session,
            Err(outcome) => return unsure(outcome),
        };
        match state(&session, &call.entity).await {
            Ok(state) if state == call.expect => {
                let undo = [("state".to_owned(), before.clone())].into();
                Outcome::Done(Receipt { observed: format!("`{}` is `{state}`", call.entity), undo })
            }
            Ok(state) if pending => session.unknown(FaultCode::TimedOut, format!("`{}` is `{state}` yet", call.entity)),
            Ok(state) => session.not_done(FaultCode::Failed, format!("`{}` is `{state}`, expected `{}`", call.entity, call.expect)),
            Err(outcome) => unsure(outcome),
        }
    }

    async fn take_back(&self, now: Time, action: &Action, receipt: &Receipt) -> Outcome {
        let mark = Mark::Revert(action.id);
        let call = match self.call(action) {
            Ok(call) => call,
            Err(fault) => return never_started(doing(mark, action), fault.detail),
        };
        match (&call.revert_service, receipt.undo.get("state").and_then(Arg::as_text)) {
            (None, _) => not_revertible(action, "its configuration has no `revert_service`"),
            (_, None) => never_started(doing(mark, action), "the receipt names no earlier state: nothing was changed"),
            (Some(service), Some(before)) => self.run(now, action, mark, service, before, Some(&call.expect)).await,
        }
    }

    async fn is_ready(&self) -> Vec<(Verb, Fault)> {
        let asked = async {
            let session = self.service.session("ask Home Assistant", READY_TIMEOUT)?;
            for call in self.calls.values() {
                state(&session, &call.entity).await?;
            }
            Ok(())
        };
        let fault = asked.await.err().and_then(fault_of);
        let fault = fault.map(|fault| advised(fault, "make a long-lived access token for a user who may control these entities"));
        fault.map(|fault| (self.spec.verb.clone(), fault)).into_iter().collect()
    }
}

fn is_id(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    text.split_once('.').is_some_and(|(domain, name)| plain(domain) && plain(name))
}

fn state_call(entity: &str) -> Call {
    Call::get(["api", "states", entity])
}

async fn state(session: &Session<'_>, entity: &str) -> Result<String, Outcome> {
    let Some(body) = session.find(&state_call(entity)).await? else {
        return Err(session.not_done(FaultCode::NotFound, format!("there is no entity `{entity}`")));
    };
    let odd = || session.not_done(FaultCode::Malformed, format!("entity `{entity}` has no state"));
    body["state"].as_str().map(str::to_owned).ok_or_else(odd)
}

fn service_call(call: &ServiceCallConfig, service: &str) -> Call {
    let (domain, name) = service.split_once('.').unwrap_or((service, ""));
    let mut body = json!({ "entity_id": call.entity });
    if service == call.service {
        for (name, value) in &call.data {
            body[name] = value.clone();
        }
    }
    Call::new(Method::POST, ["api", "services", domain, name]).json(body)
}

impl Actuator for HomeAssistant {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "home-assistant".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.call(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let call = self.call(action)?;
        let mut calls = vec![state_call(&call.entity)];
        calls.extend(call.only_below.as_ref().map(|guard| state_call(&guard.entity)));
        calls.push(service_call(call, &call.service));
        Ok(calls.iter().map(|call| self.service.planned(call)).collect())
    }

    fn ready<'a>(&'a self) -> BoxFuture<'a, Vec<(Verb, Fault)>> {
        Box::pin(self.is_ready())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let mark = Mark::Apply(action.id);
            match self.call(action) {
                Ok(call) => self.run(now, action, mark, &call.service, &call.expect, None).await,
                Err(fault) => never_started(doing(mark, action), fault.detail),
            }
        })
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(now, action))
    }

    fn revert<'a>(&'a self, now: Time, action: &'a Action, receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(self.take_back(now, action, receipt))
    }
}

fn call_spec(config: &HomeAssistantConfig, targets: Vec<Target>) -> VerbSpec {
    VerbSpec {
        verb: "home-assistant.call".into(),
        class: config.class,
        args: Vec::new(),
        target_kinds: vec!["service".into()],
        targets: Some(targets),
        opposite: None,
        settle: config.settle,
        timeout: config.timeout,
        revertible: config.calls.values().all(|call| call.revert_service.is_some()),
        cost: Cost::default(),
        doc: "Calls a configured service of Home Assistant and waits for the entity's state.".into(),
    }
}
