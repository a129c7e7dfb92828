//! The configuration of `power`: nodes, the ways to them, the witnesses of their being awake, and what speaks against a night's rest.
//!
//! What a node is reached by (`ssh`, `redfish` …) is written once; the verbs (`wake`, `on`, `sleep`, `off`, `reboot`) name one of them with
//! `via`. Deliberately absent: anything that an action could put into a command, a path or a header: all of that is fixed here. An editor
//! breaks this by accepting what `checking` does not understand.

use super::rental::Costs;
use homeostat_model::{Secret, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The nodes that can be woken, put to sleep and restarted, by name; `nas` becomes the target `node/nas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerConfig {
    /// The nodes.
    pub nodes: BTreeMap<String, NodeConfig>,
    /// When bursts of packets are sent, counted from the start.
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
    /// How long all witnesses must be silent, without a break, before a node counts as asleep or off; at most 20s.
    #[serde(default = "silence_default")]
    #[schemars(with = "String")]
    pub silence: Span,
    /// The price of energy, against which wear is held. It is no field of this section: the flat price of the tariff stands in for it.
    #[serde(skip, default = "euros_per_kwh_default")]
    #[schemars(skip)]
    pub euros_per_kwh: f64,
}

/// What a node is to the cluster.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing hangs on it alone.
    #[default]
    Worker,
    /// It runs the control plane: never put to sleep or switched off.
    ControlPlane,
    /// It votes in a quorum (etcd, corosync): never put to sleep or switched off.
    Quorum,
}

/// What is wanted of a node; each is a verb of `power`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// `power.wake`
    Wake,
    /// `power.on`
    On,
    /// `power.sleep`
    Sleep,
    /// `power.off`
    Off,
    /// `power.reboot`
    Reboot,
}

impl Want {
    /// All of them, `power.wake` first.
    pub const ALL: [Want; 5] = [Want::Wake, Want::On, Want::Sleep, Want::Off, Want::Reboot];

    /// The word in the verb and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Want::Wake => "wake",
            Want::On => "on",
            Want::Sleep => "sleep",
            Want::Off => "off",
            Want::Reboot => "reboot",
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "power.{}", self.name())
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The network card's address: `00:11:22:33:44:55`. With it and without `wake` the node is woken by Wake-on-LAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
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
    /// How to see that it is up; the short form of one witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<NodeProbeConfig>,
    /// More witnesses of its being awake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<WitnessConfig>,
    /// How many of the witnesses must have seen it awake after the send before a wake counts as done. Watts alone are never enough where
    /// another witness is configured: a node that boots draws them and does not answer yet.
    #[serde(default = "one")]
    pub witnesses_min: usize,
    /// What it draws now, in watts. A witness as well: above `idle_watts` there is power. Alone it proves a wake only where there is no other
    /// witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watts: Option<ReadingConfig>,
    /// Above this many watts it is running; needed with `watts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_watts: Option<f64>,
    /// How long it may take to answer after the first packet. If not given: 5m, and once five wakes were proven half as much again as the
    /// 95th percentile of the last twenty, at least 30s and at most 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub boot_timeout: Option<Span>,
    /// How long it may take to fall silent after it was told to sleep, go off or restart.
    #[serde(default = "off_timeout_default")]
    #[schemars(with = "String")]
    pub off_timeout: Span,
    /// How it is woken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<WayConfig>,
    /// How it is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<WayConfig>,
    /// How it is put to sleep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<WayConfig>,
    /// How it is shut down. `home-assistant` cuts the plug, and only of a node that is proven off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<WayConfig>,
    /// How it is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<WayConfig>,
    /// Where `via: ssh` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshConfig>,
    /// Where `via: sleep-on-lan` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_on_lan: Option<SleepOnLanConfig>,
    /// Where `via: redfish` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redfish: Option<RedfishConfig>,
    /// Where `via: ipmi` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipmi: Option<IpmiConfig>,
    /// Where `via: proxmox` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxmox: Option<ProxmoxConfig>,
    /// Where `via: home-assistant` goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_assistant: Option<HomeAssistantConfig>,
    /// What it is to the cluster.
    #[serde(default)]
    pub role: Role,
    /// What is never done to it, whatever else is configured: any of `wake`, `on`, `sleep`, `off`, `reboot`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<Want>,
    /// Its other names and addresses, so that the engine knows its own host under each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_known_as: Vec<String>,
    /// How many people are logged in: with more than none it is neither put to sleep nor switched off nor restarted. Of `ssh` the lines of the
    /// answer are counted (`who`), elsewhere it is a number or a JSON list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<ReadingConfig>,
    /// Whether what is stored on it is stored elsewhere as well; asked before sleep and off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_check: Option<StorageCheckConfig>,
    /// What tells one boot from another: a boot id, or the time of the boot (`node_boot_time_seconds`). Without it a restart is proven by
    /// silence and an answer after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<ReadingConfig>,
    /// It is not put to sleep or switched off sooner than this after a proven wake.
    #[serde(default)]
    #[schemars(with = "String")]
    pub min_up: Span,
    /// It is not woken sooner than this after it was put to sleep or switched off.
    #[serde(default)]
    #[schemars(with = "String")]
    pub min_down: Span,
    /// What a boot costs, in joules, from the button to the first use. With `watts` it is metered: from three metered wakes on their median
    /// counts instead.
    #[serde(default)]
    pub boot_joules: f64,
    /// How long a boot takes; with `boot_joules`, `awake_watts` and `asleep_watts` it gives the idle time from which on sleeping pays. From
    /// three proven wakes on the median of the last twenty counts instead, and before that where it is longer.
    #[serde(default)]
    #[schemars(with = "String")]
    pub boot_time: Span,
    /// What it draws when it is awake and idle.
    #[serde(default)]
    pub awake_watts: f64,
    /// What it draws when it sleeps.
    #[serde(default)]
    pub asleep_watts: f64,
    /// What one power cycle wears off its disks, fans and power supply, in euros: it makes a nap dearer by as much energy as that buys at
    /// the tariff's `euros_per_kwh`.
    #[serde(default)]
    pub wear_euros_per_cycle: f64,
    /// Whether taking back a wake puts it to sleep again; otherwise it stays awake.
    #[serde(default)]
    pub revert_wake: bool,
}

/// How to see that a node is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeProbeConfig {
    /// A `host:port` that accepts TCP connections when the node is up, e.g. `nas.lan:22`.
    pub tcp: String,
}

/// A witness of a node's being awake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WitnessConfig {
    /// A TCP connection stands. A refused one is no answer, and no silence either: something refuses.
    Tcp {
        /// A `host:port`, e.g. `nas.lan:22`.
        address: String,
    },
    /// The node's entry in this machine's neighbour table is complete, and was not before. Not for cards that answer ARP while the node
    /// sleeps: with those it never counts as asleep.
    Arp {
        /// Its IPv4 address in a network of this machine.
        address: std::net::Ipv4Addr,
    },
    /// A page, such as an exporter's, answers 200.
    Page {
        /// Where it is.
        url: String,
        /// Headers. The values are taken out of everything that is shown.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[schemars(with = "BTreeMap<String, String>")]
        headers: BTreeMap<String, Secret>,
    },
    /// The kubelet renewed the node's Lease. It does so every 10 s.
    Lease {
        /// The API server, e.g. `https://kube.lan:6443`.
        url: String,
        /// The node's name there.
        node: String,
        /// A token that may get Leases in `kube-node-lease`.
        #[schemars(with = "String")]
        token: Secret,
        /// A PEM file with the server's certificate or the authority's; the system's authorities if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<PathBuf>,
    },
}

/// A number or a text that is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "via", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ReadingConfig {
    /// A page.
    Http {
        /// What to GET. At most 64 KiB are read.
        url: String,
        /// Headers. The values are taken out of everything that is shown.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[schemars(with = "BTreeMap<String, String>")]
        headers: BTreeMap<String, Secret>,
        /// Where it stands in a JSON page: `/watts`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        json_pointer: Option<String>,
        /// Or the metric's name on an exporter's page; its series are added up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metric: Option<String>,
    },
    /// What a command on the node answers.
    Ssh {
        /// The private key; best one that is bound to this one command.
        key_file: PathBuf,
        /// The command; none for a key that is bound to one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        command: Vec<String>,
    },
    /// A sensor's state in the node's `home_assistant`.
    HomeAssistant {
        /// Its id: `sensor.nas_plug_power`.
        entity: String,
    },
}

/// Whether stored data would survive the node's absence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageCheckConfig {
    /// What to ask.
    pub ask: ReadingConfig,
    /// The answer that means "it would".
    pub equals: String,
}

/// The way in which one thing is done to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "via", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WayConfig {
    /// Wake-on-LAN packets to the node's `mac`. For wake and on.
    Wol {},
    /// A command over SSH. For sleep, off and reboot; the connection may die under it.
    Ssh {
        /// The private key; best one that is bound to this one command.
        key_file: PathBuf,
        /// The command; none for a key that is bound to one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        command: Vec<String>,
    },
    /// The agent Sleep-on-LAN on the node. For sleep, off and reboot.
    SleepOnLan {
        /// The operation's name in the agent's configuration; `sleep` if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operation: Option<String>,
    },
    /// The node's management controller. For all five; sleep only if it offers `Suspend`.
    Redfish {
        /// Do not ask the operating system first: off and reboot lose what is not written.
        #[serde(default)]
        force: bool,
    },
    /// The node's management controller by `ipmitool`. For wake, on, off and, with `force`, reboot.
    Ipmi {
        /// Do not ask the operating system first: off and reboot lose what is not written.
        #[serde(default)]
        force: bool,
    },
    /// A Proxmox VE cluster, of which the node is a member. For wake, on, off and reboot.
    Proxmox {},
    /// A smart plug. For wake and on (the node's firmware must start it when power comes) and off.
    HomeAssistant {},
    /// A request to an agent.
    Http {
        /// Where to.
        url: String,
        /// The method; `POST` if not given.
        #[serde(default = "post")]
        method: String,
        /// Headers. The values are taken out of everything that is shown.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[schemars(with = "BTreeMap<String, String>")]
        headers: BTreeMap<String, Secret>,
        /// A JSON body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        json: Option<serde_json::Value>,
    },
}

/// How `ssh` is called. Host keys are never taken on trust.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshConfig {
    /// The host.
    pub host: String,
    /// The user there.
    pub user: String,
    /// The port.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// The file that holds the host's key.
    pub known_hosts: PathBuf,
    /// The program.
    #[serde(default = "ssh_program")]
    pub program: PathBuf,
}

/// The agent Sleep-on-LAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SleepOnLanConfig {
    /// Where it listens: `http://nas.lan:8009`.
    pub url: String,
    /// The user, if it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
}

/// How to log in to a Redfish service.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedfishAuth {
    /// Name and password with every request.
    #[default]
    Basic,
    /// A session, closed after use.
    Session,
}

/// A Redfish service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedfishConfig {
    /// Where it is: `https://nas-bmc.lan`.
    pub url: String,
    /// The user; give it no more than the right to switch.
    pub user: String,
    /// The password.
    #[schemars(with = "String")]
    pub password: Secret,
    /// How to log in: `basic` or `session`.
    #[serde(default)]
    pub auth: RedfishAuth,
    /// The system's id, such as `1`; if not given, the service must have exactly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// A PEM file with its own certificate or the authority's; the system's authorities if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
}

/// A management controller that speaks IPMI 2.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IpmiConfig {
    /// The host.
    pub host: String,
    /// The user; give it no more than the role `operator`.
    pub user: String,
    /// The password; given to the program in its environment.
    #[schemars(with = "String")]
    pub password: Secret,
    /// The program.
    #[serde(default = "ipmi_program")]
    pub program: PathBuf,
}

/// A Proxmox VE cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxmoxConfig {
    /// Where its API is: `https://pve1.lan:8006`; to wake a node, another node's.
    pub url: String,
    /// The node's name there.
    pub node: String,
    /// A token with the right `Sys.PowerMgmt` on it: `user@realm!tokenid=…`.
    #[schemars(with = "String")]
    pub token: Secret,
    /// A PEM file with its own certificate or the authority's; the system's authorities if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
}

/// A Home Assistant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HomeAssistantConfig {
    /// Where it is: `http://ha.lan:8123`.
    pub url: String,
    /// A long-lived access token.
    #[schemars(with = "String")]
    pub token: Secret,
    /// The plug that the node hangs on: `switch.nas_plug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plug: Option<String>,
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
fn silence_default() -> Span {
    Span::from_secs(15)
}
fn euros_per_kwh_default() -> f64 {
    homeostat_model::Tariff::default().euros_per_kwh
}
fn broadcast_default() -> SocketAddr {
    SocketAddr::from(([255, 255, 255, 255], 9))
}
fn off_timeout_default() -> Span {
    Span::from_mins(3)
}
fn one() -> usize {
    1
}
fn post() -> String {
    "POST".into()
}
fn ssh_port() -> u16 {
    22
}
fn ssh_program() -> PathBuf {
    "ssh".into()
}
fn ipmi_program() -> PathBuf {
    "ipmitool".into()
}

impl NodeConfig {
    /// The configured way, Wake-on-LAN for a node that has a `mac` and nothing else to wake it by.
    pub(super) fn way(&self, want: Want) -> Option<WayConfig> {
        match want {
            Want::Wake => self.wake.clone().or_else(|| self.mac.as_ref().map(|_| WayConfig::Wol {})),
            Want::On => self.on.clone(),
            Want::Sleep => self.sleep.clone(),
            Want::Off => self.off.clone(),
            Want::Reboot => self.reboot.clone(),
        }
    }

    /// What a nap costs and saves, by these figures alone; nothing, if they are not given.
    pub(super) fn costs(&self, euros_per_kwh: f64) -> Option<Costs> {
        let NodeConfig { boot_joules, awake_watts, asleep_watts, wear_euros_per_cycle: wear_euros, .. } = *self;
        let boot_seconds = self.boot_time.seconds();
        (awake_watts > 0.0).then_some(Costs { boot_joules, boot_seconds, awake_watts, asleep_watts, wear_euros, euros_per_kwh })
    }

    /// The longest that a boot may take.
    pub(super) fn boot_timeout(&self) -> Span {
        self.boot_timeout.unwrap_or(Span::from_secs(300))
    }
}
