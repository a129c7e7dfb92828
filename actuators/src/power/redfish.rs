//! Redfish: a management controller's JSON (DMTF DSP0266): one ComputerSystem, its power state, its Reset action.
//!
//! The state is read before anything is sent (some controllers call `On` while on an error), and the kind of reset is always one that the
//! controller offers. Deliberately absent: following a link to another host (the password would go with it), and believing the
//! controller: a flow asks the witnesses as well. An editor breaks this by leaving a session open: controllers have few.

use super::config::{RedfishAuth, RedfishConfig, Want};
use super::reading::Trouble;
use super::way::{Sent, State, said_no};
use super::wire::{Asked, Login, Wire, code_of};
use crate::client::Answer;
use crate::redact::Redactor;
use homeostat_model::{FaultCode, Planned, Secret};
use reqwest::Method;
use serde_json::{Value, json};

const SYSTEMS: &str = "/redfish/v1/Systems";
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// A system behind a controller.
#[derive(Debug)]
pub(super) struct Redfish {
    wire: Wire,
    session: Option<(String, Secret)>,
    system: Option<String>,
}

/// A conversation: what lets us in, and the session to be closed.
struct Talk {
    headers: Vec<(&'static str, String)>,
    session: Option<String>,
    redactor: Redactor,
}

impl Redfish {
    pub(super) fn new(config: &RedfishConfig) -> Result<Redfish, String> {
        let login = match config.auth {
            RedfishAuth::Basic => Login::Basic(config.user.clone(), config.password.clone()),
            RedfishAuth::Session => Login::Open,
        };
        if config.user.contains(':') {
            return Err("`redfish.user` holds a `:`".into());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(system) = config.system.as_ref().filter(|system| system.is_empty() || !system.chars().all(plain)) {
            return Err(format!("`redfish.system` is `{system}`, expected an id such as `1`"));
        }
        let session = (config.auth == RedfishAuth::Session).then(|| (config.user.clone(), config.password.clone()));
        let wire = Wire::new(&config.url, login, config.certificate.as_deref()).map_err(|problem| format!("`redfish.url`: {problem}"))?;
        Ok(Redfish { wire, session, system: config.system.clone() })
    }

    async fn open(&self) -> Result<Talk, Trouble> {
        let mut talk = Talk { headers: Vec::new(), session: None, redactor: Redactor::default() };
        let Some((user, password)) = &self.session else { return Ok(talk) };
        let password = talk.redactor.take(password).map_err(|problem| (FaultCode::Denied, problem))?;
        let body = json!({ "UserName": user, "Password": password }).to_string().into_bytes();
        match self.wire.ask(Method::POST, SESSIONS, Some(("application/json", body)), &[], &mut talk.redactor).await {
            Asked::Answered(answer, headers) if answer.status == 201 || answer.status == 200 => {
                let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                let token =
                    text("x-auth-token").ok_or_else(|| (FaultCode::Malformed, "the session came without `X-Auth-Token`".to_owned()))?;
                talk.redactor.learn(&token);
                talk.headers.push(("x-auth-token", token));
                talk.session = text("location").and_then(|location| self.own_path(&location));
                Ok(talk)
            }
            Asked::Answered(answer, _) => {
                Err((code_of(answer.status), format!("log in at {SESSIONS}: {}", shown(&answer, &talk.redactor))))
            }
            Asked::NotSent(code, why) | Asked::Lost(code, why) => Err((code, format!("log in at {SESSIONS}: {why}"))),
        }
    }

    async fn close(&self, mut talk: Talk) {
        if let Some(session) = talk.session.take() {
            let headers = std::mem::take(&mut talk.headers);
            // It ends by itself after a while; a lost farewell changes nothing.
            let _ = self.wire.ask(Method::DELETE, &session, None, &headers, &mut talk.redactor).await;
        }
    }

    /// A path on this controller, from a path or a URL of it.
    fn own_path(&self, link: &str) -> Option<String> {
        let base = self.wire.url("/");
        let url = base.join(link).ok()?;
        (url.origin() == base.origin()).then(|| url.path().to_owned())
    }

    async fn read(&self, talk: &mut Talk) -> Result<(String, Value), Trouble> {
        let headers = talk.headers.clone();
        let path = match &self.system {
            Some(system) => format!("{SYSTEMS}/{system}"),
            None => {
                let list = self.wire.get_json(SYSTEMS, &headers, &mut talk.redactor).await?;
                let members = list.get("Members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let link = |member: &Value| self.own_path(member.get("@odata.id")?.as_str()?);
                match members {
                    [one] => link(one).ok_or_else(|| (FaultCode::Malformed, "the system's link cannot be read".to_owned()))?,
                    many => return Err((FaultCode::Malformed, format!("it has {} systems; name one by `redfish.system`", many.len()))),
                }
            }
        };
        let system = self.wire.get_json(&path, &headers, &mut talk.redactor).await?;
        Ok((path, system))
    }

    /// The power state as the controller tells it.
    pub(super) async fn state(&self) -> Result<State, Trouble> {
        let mut talk = self.open().await?;
        let read = self.read(&mut talk).await;
        self.close(talk).await;
        power_state(&read?.1)
    }

    /// Whether the controller lets us in and offers what is wanted. With sessions only whether it is there: logging in is a write.
    pub(super) async fn ready(&self, want: Want, force: bool) -> Result<(), Trouble> {
        if self.session.is_some() {
            return self.wire.get_json("/redfish/v1/", &[], &mut Redactor::default()).await.map(drop);
        }
        let mut talk = self.open().await?;
        let (_, system) = self.read(&mut talk).await?;
        let state = power_state(&system)?;
        let offered = self.offered(&system, &mut talk).await?;
        // Which kind is right depends on the state of the moment; asleep, another one will be.
        choose(want, force, &state, &offered).map(drop).map_err(|problem| (FaultCode::NotFound, problem))
    }

    /// The kinds of reset on offer: in the system, or behind a link.
    async fn offered(&self, system: &Value, talk: &mut Talk) -> Result<Vec<String>, Trouble> {
        let action = &system["Actions"]["#ComputerSystem.Reset"];
        let texts = |value: &Value| -> Option<Vec<String>> {
            Some(value.as_array()?.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect())
        };
        if let Some(kinds) = texts(&action["ResetType@Redfish.AllowableValues"]) {
            return Ok(kinds);
        }
        let Some(link) = action["@Redfish.ActionInfo"].as_str().and_then(|link| self.own_path(link)) else {
            return Err((FaultCode::Malformed, "the controller does not say which kinds of reset it offers".into()));
        };
        let headers = talk.headers.clone();
        let info = self.wire.get_json(&link, &headers, &mut talk.redactor).await?;
        let parameters = info["Parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let kinds = parameters.iter().find(|parameter| parameter["Name"] == "ResetType").and_then(|found| texts(&found["AllowableValues"]));
        kinds.ok_or_else(|| (FaultCode::Malformed, format!("{link} does not say which kinds of reset there are")))
    }

    /// Reads, chooses, sends once.
    pub(super) async fn send(&self, want: Want, force: bool) -> Sent {
        let mut talk = match self.open().await {
            Ok(talk) => talk,
            Err((code, why)) => return Sent::Refused(code, why),
        };
        let sent = self.reset(want, force, &mut talk).await;
        self.close(talk).await;
        match sent {
            Ok(sent) => sent,
            // Only reading went wrong: nothing was sent.
            Err((code, why)) => Sent::Refused(code, why),
        }
    }

    async fn reset(&self, want: Want, force: bool, talk: &mut Talk) -> Result<Sent, Trouble> {
        let (path, system) = self.read(talk).await?;
        let state = power_state(&system)?;
        let offered = self.offered(&system, talk).await?;
        let kind = choose(want, force, &state, &offered).map_err(|problem| (FaultCode::Conflict, problem))?;
        let target = system["Actions"]["#ComputerSystem.Reset"]["target"].as_str().and_then(|target| self.own_path(target));
        let target = target.ok_or_else(|| (FaultCode::Malformed, format!("{path} has no target for a reset")))?;
        let body = json!({ "ResetType": kind }).to_string().into_bytes();
        let headers = talk.headers.clone();
        Ok(match self.wire.ask(Method::POST, &target, Some(("application/json", body)), &headers, &mut talk.redactor).await {
            Asked::Answered(answer, _) if matches!(answer.status, 200 | 202 | 204) => {
                Sent::Accepted(format!("`{kind}` was accepted with HTTP {}", answer.status))
            }
            Asked::Answered(answer, _) => said_no(answer.status, format!("`{kind}`: {}", shown(&answer, &talk.redactor))),
            Asked::NotSent(code, why) => Sent::NeverLeft(code, why),
            Asked::Lost(code, why) => Sent::Lost(code, why),
        })
    }

    /// What would be sent.
    pub(super) fn planned(&self, want: Want, force: bool) -> Vec<Planned> {
        let system = self.system.as_deref().unwrap_or("{the only one}");
        let read = |call: String| Planned { call, body: None, writes: false };
        let url = self.wire.url(SYSTEMS);
        let mut planned = Vec::new();
        if self.session.is_some() {
            planned.push(read(format!("POST {} (a session, closed afterwards)", self.wire.url(SESSIONS))));
        }
        planned.push(read(format!("GET {url}/{system}")));
        let kinds = kinds(want, force, &State::Off).join("\" or \"");
        planned.push(Planned {
            call: format!("POST {url}/{system}/Actions/ComputerSystem.Reset"),
            body: Some(format!("{{\"ResetType\": \"{kinds}\"}}")),
            writes: true,
        });
        planned
    }
}

fn power_state(system: &Value) -> Result<State, Trouble> {
    match system.get("PowerState").and_then(Value::as_str) {
        Some("On") => Ok(State::On),
        Some("Off") => Ok(State::Off),
        Some("Paused") => Ok(State::Asleep),
        Some(state @ ("PoweringOn" | "PoweringOff")) => Ok(State::Changing(state.to_owned())),
        other => Err((
            FaultCode::Malformed,
            format!("the controller's PowerState is {other:?}, expected On, Off, PoweringOn, PoweringOff or Paused"),
        )),
    }
}

/// The kinds of reset that do what is wanted, the best first.
fn kinds(want: Want, force: bool, state: &State) -> &'static [&'static str] {
    match want {
        Want::Wake | Want::On if *state == State::Asleep => &["Resume", "On"],
        Want::Wake | Want::On => &["On", "ForceOn"],
        Want::Sleep => &["Suspend"],
        Want::Off if force => &["ForceOff"],
        Want::Off => &["GracefulShutdown"],
        Want::Reboot if force => &["ForceRestart", "PowerCycle"],
        Want::Reboot => &["GracefulRestart"],
    }
}

fn choose(want: Want, force: bool, state: &State, offered: &[String]) -> Result<&'static str, String> {
    let kinds = kinds(want, force, state);
    kinds
        .iter()
        .find(|kind| offered.iter().any(|other| other == *kind))
        .copied()
        .ok_or_else(|| format!("the controller offers {}; `{want}` needs {}", offered.join(", "), kinds.join(" or ")))
}

/// An answer with the ids of its messages, which say more than the status.
fn shown(answer: &Answer, redactor: &Redactor) -> String {
    let body = answer.json().unwrap_or_default();
    let infos = body["error"]["@Message.ExtendedInfo"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ids: Vec<&str> = infos.iter().filter_map(|info| info["MessageId"].as_str()).collect();
    if ids.is_empty() {
        return answer.shown(redactor);
    }
    format!("HTTP {}: {}", answer.status, redactor.clean_head(&ids.join(", "), 300))
}
