//! `power.wake`: Wake-on-LAN, believed only when the node answers.
//!
//! A magic packet has no acknowledgement, so a wake is proven by a TCP connection that stands *after* the packet was sent, and by
//! nothing else (a refused connection proves a router as well). Deliberately absent: `power.sleep`, which is declared as the
//! opposite and is a configured `exec` or `http` verb's business; raw Ethernet frames. An editor breaks this by taking an answer
//! from before the send for a wake, or by calling silence at the deadline `NotDone` in `apply`: the node may still be booting.

pub mod magic;
#[cfg(test)]
pub(crate) mod tests;

use crate::args::{check_against, unknown_verb};
use crate::ledger::{Begin, Ledger, Mark, doing, never_started, not_revertible};
use crate::pace::Pace;
use crate::redact::resolve;
use homeostat_model::{
    Action, Actuator, ActuatorSpec, Arg, BoxFuture, Class, Fault, FaultCode, Outcome, Receipt, Secret, Span, Target, Time, VerbSpec,
};
use magic::{Mac, parse_secure_on};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// One burst's packets: three, because nobody acknowledges any.
const PACKETS_PER_BURST: u32 = 3;
/// The ledger's note that the first packet may have left.
const SENDING: &str = "sending";
/// The longest boot that can be configured.
const BOOT_TIMEOUT_MAX: Span = Span::from_hours(1);
/// The most bursts that can be configured.
const RESENDS_MAX: usize = 20;

/// The nodes that can be woken, by name; `nas` becomes the target `node/nas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerConfig {
    /// The nodes.
    pub nodes: BTreeMap<String, NodeConfig>,
    /// When bursts are sent, counted from the start.
    #[serde(default = "resend_default")]
    #[schemars(with = "Vec<String>")]
    pub resend_at: Vec<Span>,
    /// Between the packets of a burst.
    #[serde(default = "packet_gap_default")]
    #[schemars(with = "String")]
    pub packet_gap: Span,
    /// Between two looks whether the node answers; one look takes at most as long again.
    #[serde(default = "poll_default")]
    #[schemars(with = "String")]
    pub poll: Span,
    /// How long a woken node needs before its symptoms mean anything again.
    #[serde(default = "settle_default")]
    #[schemars(with = "String")]
    pub settle: Span,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The network card's address: `00:11:22:33:44:55`.
    pub mac: String,
    /// Where the packet goes: the subnet's directed broadcast and a port, e.g. `192.168.1.255:9`. The default leaves by the default
    /// route only.
    #[serde(default = "broadcast_default")]
    pub broadcast: SocketAddr,
    /// This machine's address in the node's network; it picks the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_address: Option<IpAddr>,
    /// The SecureOn password: 6 bytes as `a1:b2:c3:d4:e5:f6`, or 4 as `192.168.1.10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub secure_on: Option<Secret>,
    /// How to see that it is up.
    pub probe: NodeProbeConfig,
    /// How long it may take to answer after the first packet.
    #[serde(default = "boot_timeout_default")]
    #[schemars(with = "String")]
    pub boot_timeout: Span,
}

/// How to see that a node is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeProbeConfig {
    /// A `host:port` that accepts TCP connections when the node is up, e.g. `nas.lan:22`.
    pub tcp: String,
}

fn resend_default() -> Vec<Span> {
    vec![Span::ZERO, Span::from_secs(30), Span::from_secs(90)]
}
fn packet_gap_default() -> Span {
    Span::from_millis(100)
}
fn poll_default() -> Span {
    Span::from_secs(2)
}
fn settle_default() -> Span {
    Span::from_mins(5)
}
fn broadcast_default() -> SocketAddr {
    SocketAddr::from(([255, 255, 255, 255], 9))
}
fn boot_timeout_default() -> Span {
    Span::from_secs(300)
}

#[derive(Debug)]
struct Node {
    mac: Mac,
    config: NodeConfig,
}

/// The actuator `power`.
#[derive(Debug)]
pub struct Power {
    nodes: BTreeMap<Target, Node>,
    spec: VerbSpec,
    resend_at: Vec<Span>,
    packet_gap: Span,
    poll: Span,
    pace: Pace,
    ledger: Arc<Ledger>,
}

impl Power {
    /// Checks the configuration and builds; sends nothing. Every problem is listed.
    pub fn new(config: &PowerConfig, ledger: Arc<Ledger>) -> Result<Power, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut refuse = |what: &str, problem: String| faults.push(Fault::new(FaultCode::Malformed, format!("configure {what}"), problem));
        let mut nodes = BTreeMap::new();
        for (name, node) in &config.nodes {
            let what = format!("`power` node `{name}`");
            node_problems(name, node).into_iter().for_each(|problem| refuse(&what, problem));
            match node.mac.parse() {
                Ok(mac) => drop(nodes.insert(Target::from(format!("node/{name}")), Node { mac, config: node.clone() })),
                Err(problem) => refuse(&what, problem),
            }
        }
        if config.resend_at.is_empty() || config.resend_at.len() > RESENDS_MAX || !config.resend_at.is_sorted() {
            refuse("`power`", format!("`resend_at` must hold 1 to {RESENDS_MAX} spans in order, such as [0s, 30s, 90s]"));
        }
        if config.poll <= Span::ZERO || config.packet_gap < Span::ZERO || config.resend_at.iter().any(|span| *span < Span::ZERO) {
            refuse("`power`", "`poll` must be more than 0s, `packet_gap` and `resend_at` not negative".into());
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (spec, resend_at) = (wake_spec(config), config.resend_at.clone());
        Ok(Power { nodes, spec, resend_at, packet_gap: config.packet_gap, poll: config.poll, pace: Pace::default(), ledger })
    }

    /// The same, waiting at another pace.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Power {
        Power { pace, ..self }
    }

    fn node(&self, action: &Action) -> Result<&Node, Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)?;
        self.nodes.get(&action.target).ok_or_else(|| {
            Fault::new(FaultCode::NotFound, format!("check {} {}", action.id, action.verb), format!("no node `{}`", action.target))
        })
    }

    async fn wake(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let node = match self.node(action) {
            Ok(node) => node,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let packet = match node.packet() {
            Ok(packet) => packet,
            Err(problem) => return never_started(doing, problem),
        };
        if let Err(answer) = self.ledger.admit(now, action, mark) {
            return answer;
        }
        let outcome = if self.answers(node).await {
            Outcome::Done(Receipt { observed: format!("was already up: tcp {} answered", node.config.probe.tcp), ..Receipt::default() })
        } else {
            self.send_and_watch(node, &packet, action, mark, doing).await
        };
        self.ledger.settle(mark, outcome)
    }

    async fn send_and_watch(&self, node: &Node, packet: &[u8], action: &Action, mark: Mark, doing: String) -> Outcome {
        let socket = match node.socket().await {
            Ok(socket) => socket,
            Err(error) => return never_started(doing, format!("no socket for the packet: {error}")),
        };
        if let Err(fault) = self.ledger.note(mark, SENDING, Arg::Bool(true)) {
            return never_started(doing, fault.to_string());
        }
        let allowed = action.timeout.min(node.config.boot_timeout);
        let start = Instant::now();
        let deadline = start + self.pace.real(allowed);
        if let Err(error) = self.burst(&socket, packet, node.config.broadcast).await {
            let detail = format!("the packet cannot be sent to {}: {error}", node.config.broadcast);
            return Outcome::NotDone(Fault::new(FaultCode::Unreachable, doing, detail));
        }
        let watch = async {
            while !self.answers(node).await {
                sleep(self.pace.real(self.poll)).await;
            }
        };
        let resend = async {
            for at in self.resend_at.iter().skip(1) {
                sleep_until(start + self.pace.real(*at)).await;
                // The first burst left; a later one that fails takes nothing back.
                let _ = self.burst(&socket, packet, node.config.broadcast).await;
            }
            std::future::pending::<()>().await;
        };
        let answered = timeout_at(deadline, async {
            tokio::select! { () = watch => {}, () = resend => {} }
        });
        let tcp = &node.config.probe.tcp;
        match answered.await {
            Ok(()) => {
                let observed = format!("tcp {tcp} answered {:.1} s after the first packet", self.pace.seconds_in(start.elapsed()));
                Outcome::Done(Receipt { observed, ..Receipt::default() })
            }
            Err(_) => {
                let detail = format!("the packet was sent; tcp {tcp} did not answer within {} s", allowed.seconds());
                Outcome::Unknown(Fault::new(FaultCode::TimedOut, doing, detail))
            }
        }
    }

    /// Sends one burst; an error only if no packet left.
    async fn burst(&self, socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> std::io::Result<()> {
        let mut result = Err(std::io::ErrorKind::NotConnected.into());
        for i in 0..PACKETS_PER_BURST {
            if i > 0 {
                sleep(self.pace.real(self.packet_gap)).await;
            }
            let sent = socket.send_to(packet, to).await.map(drop);
            if result.is_err() {
                result = sent;
            }
        }
        result
    }

    /// Whether a TCP connection stands.
    async fn answers(&self, node: &Node) -> bool {
        matches!(timeout(self.pace.real(self.poll), TcpStream::connect(&node.config.probe.tcp)).await, Ok(Ok(_)))
    }

    async fn look(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = format!("probe {} {} on {}", action.id, action.verb, action.target);
        let (known, started) = match self.ledger.look(mark).and_then(|known| Ok((known, self.ledger.started(mark)?))) {
            Ok(known) => known,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let node = match self.node(action) {
            Ok(node) => node,
            Err(fault) => return Outcome::Unknown(fault),
        };
        let boot_timeout = node.config.boot_timeout;
        let over = started.is_none_or(|started| now.since(started.at) > boot_timeout);
        match known {
            Begin::Fresh => return never_started(doing, "it was never started here"),
            Begin::Started(started) if over && !started.notes.contains_key(SENDING) => {
                return never_started(doing, "it was begun, but no packet was sent");
            }
            Begin::Started(_) | Begin::Finished(Outcome::Unknown(_)) => {}
            Begin::Finished(outcome) => return outcome,
        }
        let tcp = &node.config.probe.tcp;
        match (self.answers(node).await, over) {
            (true, _) => Outcome::Done(Receipt { observed: format!("tcp {tcp} answers"), ..Receipt::default() }),
            (false, true) => {
                let detail = format!("tcp {tcp} does not answer, more than {boot_timeout} after the packet");
                Outcome::NotDone(Fault::new(FaultCode::TimedOut, doing, detail))
            }
            (false, false) => {
                let detail = format!("tcp {tcp} does not answer yet; it may take {boot_timeout}");
                Outcome::Unknown(Fault::new(FaultCode::TimedOut, doing, detail))
            }
        }
    }
}

impl Node {
    fn packet(&self) -> Result<Vec<u8>, String> {
        let password = match &self.config.secure_on {
            Some(secret) => parse_secure_on(&resolve(secret)?)?,
            None => Vec::new(),
        };
        Ok(magic::packet(self.mac, &password))
    }

    async fn socket(&self) -> std::io::Result<UdpSocket> {
        let local = match (self.config.interface_address, self.config.broadcast) {
            (Some(address), _) => SocketAddr::new(address, 0),
            (None, SocketAddr::V4(_)) => SocketAddr::from(([0, 0, 0, 0], 0)),
            (None, SocketAddr::V6(_)) => SocketAddr::from(([0_u16; 8], 0)),
        };
        let socket = UdpSocket::bind(local).await?;
        socket.set_broadcast(true)?; // without it: EACCES
        Ok(socket)
    }
}

impl Actuator for Power {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "power".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.node(action).map(drop)
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.wake(now, action))
    }

    fn probe<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.look(now, action))
    }

    fn revert<'a>(&'a self, _now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async { not_revertible(action, "act with `power.sleep` instead") })
    }
}

fn wake_spec(config: &PowerConfig) -> VerbSpec {
    let slowest = config.nodes.values().map(|node| node.boot_timeout).max().unwrap_or(boot_timeout_default());
    VerbSpec {
        verb: "power.wake".into(),
        class: Class::Restore,
        args: Vec::new(),
        target_kinds: vec!["node".into()],
        targets: Some(config.nodes.keys().map(|name| Target::from(format!("node/{name}"))).collect()),
        opposite: Some("power.sleep".into()),
        settle: config.settle,
        // One look before the first packet is not part of the boot.
        timeout: Span(slowest.millis().saturating_add(config.poll.millis())),
        revertible: false,
        cost: Default::default(),
        doc: "Wakes a node with Wake-on-LAN packets and waits until it answers.".into(),
    }
}

fn node_problems(name: &str, node: &NodeConfig) -> Vec<String> {
    let mut problems = Vec::new();
    if name.is_empty() || name.contains('/') || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        problems.push(format!("`{name}` is not a node's name"));
    }
    if node.interface_address.is_some_and(|address| address.is_ipv4() != node.broadcast.is_ipv4()) {
        problems.push("`interface_address` and `broadcast` are of different IP versions".into());
    }
    if node.broadcast.port() == 0 {
        problems.push("`broadcast` has port 0: expected 9 or 7".into());
    }
    let port = node.probe.tcp.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        problems.push(format!("`probe.tcp` is `{}`, expected `host:port`", node.probe.tcp));
    }
    if node.boot_timeout <= Span::ZERO || node.boot_timeout > BOOT_TIMEOUT_MAX {
        problems.push(format!("`boot_timeout` is {}, expected more than 0s and at most {BOOT_TIMEOUT_MAX}", node.boot_timeout));
    }
    if let Some(Secret::Literal(text)) = &node.secure_on {
        problems.extend(parse_secure_on(text).err());
    }
    problems
}
