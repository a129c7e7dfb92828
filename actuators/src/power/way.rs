//! The ways of doing something to a node: what each sends, what its answer is worth, and what it can say about the node's power.
//!
//! "Accepted" is never "done": the flows ask the witnesses. Deliberately absent: repeating, waiting, choosing between ways. An editor breaks
//! this by calling an answer that was lost "refused": the node may be going to sleep at this moment.

use super::command::{Program, Ran};
use super::config::{IpmiConfig, NodeConfig, Want, WayConfig};
use super::reading::{Trouble, entity_of, home_assistant, state, state_path};
use super::redfish::Redfish;
use super::wire::{Asked, Login, Wire};
use crate::client::refused;
use crate::redact::Redactor;
use homeostat_model::{FaultCode, Outcome, Planned};
use reqwest::Method;
use serde_json::{Value, json};

/// What is known after a way was gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sent {
    /// The other side took it.
    Accepted(String),
    /// Surely nothing left this machine for it.
    NeverLeft(FaultCode, String),
    /// The other side said no.
    Refused(FaultCode, String),
    /// It ran and said that it failed; what it did before is not known.
    Failed(String),
    /// It may have arrived.
    Lost(FaultCode, String),
}

/// What a controller or a plug says about the power.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    On,
    Off,
    Asleep,
    Changing(String),
}

/// One way, ready to be gone.
#[derive(Debug)]
pub(super) enum Way {
    Wol,
    Ssh(Program),
    SleepOnLan { wire: Wire, operation: String },
    Redfish { redfish: Redfish, force: bool },
    Ipmi { config: IpmiConfig, force: bool },
    Proxmox { wire: Wire, node: String },
    Plug { wire: Wire, entity: String },
    Http { wire: Wire, method: Method, body: Option<Vec<u8>> },
}

impl Way {
    /// Builds it; what it needs of the node is there (`checking::problems` looked).
    pub(super) fn new(config: &WayConfig, node: &NodeConfig) -> Result<Way, String> {
        let absent = |what: &str| format!("the node has no `{what}`");
        Ok(match config {
            WayConfig::Wol {} => Way::Wol,
            WayConfig::Ssh { key_file, command } => {
                Way::Ssh(Program::ssh(node.ssh.as_ref().ok_or_else(|| absent("ssh"))?, key_file, command))
            }
            WayConfig::SleepOnLan { operation } => {
                let agent = node.sleep_on_lan.as_ref().ok_or_else(|| absent("sleep_on_lan"))?;
                let login = match (&agent.user, &agent.password) {
                    (Some(user), Some(password)) => Login::Basic(user.clone(), password.clone()),
                    (None, None) => Login::Open,
                    _ => return Err("`sleep_on_lan` needs `user` and `password`, or neither".into()),
                };
                let operation = operation.clone().unwrap_or_else(|| "sleep".into());
                Way::SleepOnLan { wire: Wire::new(&agent.url, login, None)?, operation }
            }
            WayConfig::Redfish { force } => {
                Way::Redfish { redfish: Redfish::new(node.redfish.as_ref().ok_or_else(|| absent("redfish"))?)?, force: *force }
            }
            WayConfig::Ipmi { force } => Way::Ipmi { config: node.ipmi.clone().ok_or_else(|| absent("ipmi"))?, force: *force },
            WayConfig::Proxmox {} => {
                let cluster = node.proxmox.as_ref().ok_or_else(|| absent("proxmox"))?;
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
                if cluster.node.is_empty() || !cluster.node.chars().all(plain) {
                    return Err(format!("`proxmox.node` is `{}`, expected a node's name", cluster.node));
                }
                let login = Login::Token("PVEAPIToken=", cluster.token.clone());
                Way::Proxmox { wire: Wire::new(&cluster.url, login, cluster.certificate.as_deref())?, node: cluster.node.clone() }
            }
            WayConfig::HomeAssistant {} => {
                let home = node.home_assistant.as_ref().ok_or_else(|| absent("home_assistant"))?;
                let plug = home.plug.as_deref().ok_or_else(|| absent("home_assistant.plug"))?;
                Way::Plug { wire: home_assistant(home)?, entity: entity_of(plug)?.to_owned() }
            }
            WayConfig::Http { url, method, headers, json } => {
                let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a method"))?;
                let body = json.as_ref().map(|json| json.to_string().into_bytes());
                Way::Http { wire: Wire::new(url, Login::Headers(headers.clone()), None)?, method, body }
            }
        })
    }

    /// What it says about the power before and after; `None`: this way cannot say.
    pub(super) async fn state(&self) -> Option<Result<State, Trouble>> {
        match self {
            Way::Redfish { redfish, .. } => Some(redfish.state().await),
            Way::Ipmi { config, .. } => Some(ipmi_state(config).await),
            Way::Plug { wire, entity } => Some(state(wire, entity).await.and_then(|state| match state.as_str() {
                "on" => Ok(State::On),
                "off" => Ok(State::Off),
                other => Err((FaultCode::Malformed, format!("`{entity}` is `{other}`, expected on or off"))),
            })),
            // A Proxmox cluster may be the node itself, and "offline" there means only that nobody heard of it.
            Way::Wol | Way::Ssh(_) | Way::SleepOnLan { .. } | Way::Proxmox { .. } | Way::Http { .. } => None,
        }
    }

    /// Goes it once.
    pub(super) async fn send(&self, want: Want) -> Sent {
        let mut redactor = Redactor::default();
        match self {
            Way::Wol => Sent::NeverLeft(FaultCode::Internal, "packets are sent by the flow".into()),
            Way::Ssh(program) => match program.run_ssh().await {
                Ran::Well(_) => Sent::Accepted("the command was taken".into()),
                Ran::Badly(code, words) => Sent::Failed(format!("the command ended with {code}: {words}")),
                Ran::NotSent(code, why) => Sent::NeverLeft(code, why),
                Ran::Lost(code, why) => Sent::Lost(code, why),
            },
            Way::SleepOnLan { wire, operation } => sleep_on_lan(wire, operation, &mut redactor).await,
            Way::Redfish { redfish, force } => redfish.send(want, *force).await,
            Way::Ipmi { config, force } => match Program::ipmi(config, chassis(want, *force)).run_ipmi(config).await {
                Ran::Well(_) => Sent::Accepted(format!("`chassis power {}` was taken", chassis(want, *force))),
                // The controller said no, or ipmitool did not understand it: either may come after the command.
                Ran::Badly(code, words) => Sent::Failed(format!("ipmitool ended with {code}: {words}")),
                Ran::NotSent(code, why) => Sent::NeverLeft(code, why),
                Ran::Lost(code, why) => Sent::Lost(code, why),
            },
            Way::Proxmox { wire, node } => {
                let (path, form) = proxmox_call(node, want);
                let body = form.map(|form| ("application/x-www-form-urlencoded", form.as_bytes().to_vec()));
                accepted(wire.ask(Method::POST, &path, body, &[], &mut redactor).await, &redactor)
            }
            Way::Plug { wire, entity } => {
                let (path, body) = plug_call(entity, want);
                accepted(wire.ask(Method::POST, &path, Some(("application/json", body)), &[], &mut redactor).await, &redactor)
            }
            Way::Http { wire, method, body } => {
                let body = body.clone().map(|body| ("application/json", body));
                accepted(wire.ask(method.clone(), "", body, &[], &mut redactor).await, &redactor)
            }
        }
    }

    /// What it would send.
    pub(super) fn planned(&self, want: Want) -> Vec<Planned> {
        let write = |call: String, body: Option<Vec<u8>>| {
            vec![Planned { call, body: body.map(|body| String::from_utf8_lossy(&body).into_owned()), writes: true }]
        };
        match self {
            Way::Wol => Vec::new(),
            Way::Ssh(program) => write(program.shown(), None),
            Way::SleepOnLan { wire, operation } => write(format!("GET {}", wire.url(&sleep_on_lan_path(operation))), None),
            Way::Redfish { redfish, force } => redfish.planned(want, *force),
            Way::Ipmi { config, force } => {
                let read = Planned { call: Program::ipmi(config, "status").shown(), body: None, writes: false };
                std::iter::once(read).chain(write(Program::ipmi(config, chassis(want, *force)).shown(), None)).collect()
            }
            Way::Proxmox { wire, node } => {
                let (path, form) = proxmox_call(node, want);
                write(format!("POST {}", wire.url(&path)), form.map(|form| form.as_bytes().to_vec()))
            }
            Way::Plug { wire, entity } => {
                let read = Planned { call: format!("GET {}", wire.url(&state_path(entity))), body: None, writes: false };
                let (path, body) = plug_call(entity, want);
                std::iter::once(read).chain(write(format!("POST {}", wire.url(&path)), Some(body))).collect()
            }
            Way::Http { wire, method, body } => write(format!("{method} {}", wire.url("")), body.clone()),
        }
    }

    /// Whether it can be gone; reads only. Agents on the node itself are not asked: the node may sleep.
    pub(super) async fn ready(&self, want: Want) -> Result<(), Trouble> {
        match self {
            Way::Wol => Ok(()),
            Way::Ssh(program) => program.problem().map_or(Ok(()), Err),
            Way::SleepOnLan { wire, .. } | Way::Http { wire, .. } => {
                wire.login_problem().map_or(Ok(()), |problem| Err((FaultCode::Denied, problem)))
            }
            Way::Redfish { redfish, force } => redfish.ready(want, *force).await,
            Way::Ipmi { config, .. } => match Program::ipmi(config, "status").problem() {
                Some(trouble) => Err(trouble),
                None => ipmi_state(config).await.map(drop),
            },
            Way::Proxmox { wire, node } => proxmox_ready(wire, node).await,
            Way::Plug { wire, entity } => state(wire, entity).await.map(drop),
        }
    }
}

/// What an answer by status is worth.
fn accepted(asked: Asked, redactor: &Redactor) -> Sent {
    match asked {
        Asked::Answered(answer, _) if answer.is_success() => Sent::Accepted(format!("accepted with HTTP {}", answer.status)),
        Asked::Answered(answer, _) => said_no(answer.status, answer.shown(redactor)),
        Asked::NotSent(code, why) => Sent::NeverLeft(code, why),
        Asked::Lost(code, why) => Sent::Lost(code, why),
    }
}

/// A status that is no success: a refusal, or a failure on the way that tells nothing.
pub(super) fn said_no(status: u16, words: String) -> Sent {
    match refused(status, "", words) {
        Outcome::NotDone(fault) => Sent::Refused(fault.code, fault.detail),
        Outcome::Unknown(fault) => Sent::Lost(fault.code, fault.detail),
        Outcome::Done(_) => Sent::Lost(FaultCode::Internal, "a refusal that is none".into()),
    }
}

fn sleep_on_lan_path(operation: &str) -> String {
    format!("/{operation}?format=JSON")
}

/// The agent answers before it acts: `Result: true` is "accepted". A GET, although it changes the node's state.
async fn sleep_on_lan(wire: &Wire, operation: &str, redactor: &mut Redactor) -> Sent {
    let asked = wire.ask(Method::GET, &sleep_on_lan_path(operation), None, &[], redactor).await;
    if let Asked::Answered(answer, _) = &asked
        && answer.is_success()
    {
        return match answer.json().and_then(|value| value.get("Result").and_then(Value::as_bool)) {
            Some(true) => Sent::Accepted(format!("the agent took `{operation}`")),
            Some(false) => Sent::Refused(FaultCode::Failed, format!("the agent refused `{operation}`: {}", answer.shown(redactor))),
            None => Sent::Lost(FaultCode::Malformed, format!("the agent's answer is not understood: {}", answer.shown(redactor))),
        };
    }
    accepted(asked, redactor)
}

fn chassis(want: Want, force: bool) -> &'static str {
    match want {
        Want::Wake | Want::On => "on",
        Want::Off | Want::Sleep if force => "off",
        Want::Off | Want::Sleep => "soft",
        Want::Reboot => "cycle",
    }
}

async fn ipmi_state(config: &IpmiConfig) -> Result<State, Trouble> {
    match Program::ipmi(config, "status").run_ipmi(config).await {
        Ran::Well(text) if text.trim().ends_with("is on") => Ok(State::On),
        Ran::Well(text) if text.trim().ends_with("is off") => Ok(State::Off),
        Ran::Well(text) => {
            let text: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
            Err((FaultCode::Malformed, format!("`chassis power status` said `{text}`")))
        }
        Ran::Badly(code, words) => Err((FaultCode::Failed, format!("`chassis power status` ended with {code}: {words}"))),
        Ran::NotSent(code, words) | Ran::Lost(code, words) => Err((code, format!("`chassis power status`: {words}"))),
    }
}

fn proxmox_call(node: &str, want: Want) -> (String, Option<&'static str>) {
    match want {
        Want::Wake | Want::On => (format!("/api2/json/nodes/{node}/wakeonlan"), None),
        Want::Reboot => (format!("/api2/json/nodes/{node}/status"), Some("command=reboot")),
        Want::Sleep | Want::Off => (format!("/api2/json/nodes/{node}/status"), Some("command=shutdown")),
    }
}

async fn proxmox_ready(wire: &Wire, node: &str) -> Result<(), Trouble> {
    let place = format!("/nodes/{node}");
    let path = format!("/api2/json/access/permissions?path={place}");
    let rights = wire.get_json(&path, &[], &mut Redactor::default()).await?;
    let right = &rights["data"][&place]["Sys.PowerMgmt"];
    if right.as_i64() == Some(1) || right.as_bool() == Some(true) {
        return Ok(());
    }
    Err((FaultCode::Denied, format!("the token lacks the right `Sys.PowerMgmt` on `{place}`: give it a role that has it there")))
}

fn plug_call(entity: &str, want: Want) -> (String, Vec<u8>) {
    let domain = entity.split('.').next().unwrap_or_default();
    let service = if matches!(want, Want::Wake | Want::On) { "turn_on" } else { "turn_off" };
    (format!("/api/services/{domain}/{service}"), json!({ "entity_id": entity }).to_string().into_bytes())
}
