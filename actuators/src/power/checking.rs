//! What is wrong with a configuration of `power`, as far as it can be seen without building it: every problem, in words.
//!
//! Deliberately absent: what building finds (a URL, an entity, a MAC). An editor breaks this by telling the first problem only.

use super::config::{NodeConfig, PowerConfig, Want, WayConfig, WitnessConfig};
use super::magic::parse_secure_on;
use homeostat_model::{Secret, Span};

/// The longest boot that can be configured.
const BOOT_TIMEOUT_MAX: Span = Span::from_hours(1);
/// The longest stretch of silence: the daemon gives a probe 30 s, and it must see the whole stretch.
const SILENCE_MAX: Span = Span::from_secs(20);
/// The most witnesses of a node.
const WITNESSES_MAX: usize = 8;

/// Every problem of the whole, not of its nodes.
pub(super) fn whole_problems(config: &PowerConfig) -> Vec<String> {
    const RESENDS_MAX: usize = 20;
    let mut problems = Vec::new();
    if config.resend_at.is_empty() || config.resend_at.len() > RESENDS_MAX || !config.resend_at.is_sorted() {
        problems.push(format!("`resend_at` must hold 1 to {RESENDS_MAX} spans in order, such as [0s, 30s, 90s]"));
    }
    if config.poll <= Span::ZERO || config.packet_gap < Span::ZERO || config.resend_at.iter().any(|span| *span < Span::ZERO) {
        problems.push("`poll` must be more than 0s, `packet_gap` and `resend_at` not negative".into());
    }
    if config.silence <= Span::ZERO || config.silence > SILENCE_MAX {
        problems.push(format!("`silence` is {}, expected more than 0s and at most {SILENCE_MAX}", config.silence));
    }
    problems
}

/// Every problem of a node that can be seen without building it.
pub(super) fn problems(name: &str, node: &NodeConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let mut say = |wrong: bool, problem: String| problems.extend(wrong.then_some(problem));
    let strange = name.is_empty() || name.contains('/') || name.chars().any(|c| c.is_control() || c.is_whitespace());
    say(strange, format!("`{name}` is not a node's name"));
    let versions = node.interface_address.is_some_and(|address| address.is_ipv4() != node.broadcast.is_ipv4());
    say(versions, "`interface_address` and `broadcast` are of different IP versions".into());
    say(node.broadcast.port() == 0, "`broadcast` has port 0: expected 9 or 7".into());
    let boot = node.boot_timeout();
    let wrong = |span: Span| span <= Span::ZERO || span > BOOT_TIMEOUT_MAX;
    say(wrong(boot), format!("`boot_timeout` is {boot}, expected more than 0s and at most {BOOT_TIMEOUT_MAX}"));
    let off = node.off_timeout;
    say(wrong(off), format!("`off_timeout` is {off}, expected more than 0s and at most {BOOT_TIMEOUT_MAX}"));
    for (field, span) in [("min_up", node.min_up), ("min_down", node.min_down), ("boot_time", node.boot_time)] {
        say(span < Span::ZERO, format!("`{field}` is {span}, expected 0s or more"));
    }
    let numbers = [
        ("boot_joules", node.boot_joules),
        ("awake_watts", node.awake_watts),
        ("asleep_watts", node.asleep_watts),
        ("wear_euros_per_cycle", node.wear_euros_per_cycle),
        ("idle_watts", node.idle_watts.unwrap_or(0.0)),
    ];
    for (field, value) in numbers {
        say(!value.is_finite() || value < 0.0, format!("`{field}` is {value}, expected 0 or more"));
    }
    let alone = node.wear_euros_per_cycle > 0.0 && node.awake_watts == 0.0;
    say(alone, "`wear_euros_per_cycle` is held against what sleeping saves: give `awake_watts` and `asleep_watts` as well".into());
    if let Some(Secret::Literal(text)) = &node.secure_on {
        problems.extend(parse_secure_on(text).err());
    }
    problems.extend(witness_problems(node));
    for want in Want::ALL {
        if let Some(way) = node.way(want) {
            problems.extend(way_problems(node, want, &way).into_iter().map(|problem| format!("`{}`: {problem}", want.name())));
        }
    }
    problems
}

fn witness_problems(node: &NodeConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let tcp = |what: &str, address: &str| {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        port.is_none_or(|port| port == 0).then(|| format!("`{what}` is `{address}`, expected `host:port`"))
    };
    problems.extend(node.probe.as_ref().and_then(|probe| tcp("probe.tcp", &probe.tcp)));
    for witness in &node.witnesses {
        if let WitnessConfig::Tcp { address } = witness {
            problems.extend(tcp("witnesses.address", address));
        }
    }
    let count = usize::from(node.probe.is_some()) + node.witnesses.len() + usize::from(node.watts.is_some());
    if !(1..=WITNESSES_MAX).contains(&count) {
        problems
            .push(format!("it has {count} witnesses, expected 1 to {WITNESSES_MAX}: give `probe: {{ tcp: \"host:22\" }}` or `witnesses`"));
    } else if !(1..=count).contains(&node.witnesses_min) {
        problems.push(format!("`witnesses_min` is {}, expected 1 to {count}, the number of its witnesses", node.witnesses_min));
    }
    if node.watts.is_some() != node.idle_watts.is_some() {
        problems.push("`watts` and `idle_watts` go together: what it draws, and above what it is running".into());
    }
    problems
}

fn way_problems(node: &NodeConfig, want: Want, way: &WayConfig) -> Vec<String> {
    use Want::{Off, On, Reboot, Sleep, Wake};
    let (name, can, needs): (&str, &[Want], Option<&str>) = match way {
        WayConfig::Wol {} => ("wol", &[Wake, On], node.mac.is_none().then_some("mac")),
        WayConfig::Ssh { .. } => ("ssh", &[Sleep, Off, Reboot], node.ssh.is_none().then_some("ssh")),
        WayConfig::SleepOnLan { .. } => ("sleep-on-lan", &[Sleep, Off, Reboot], node.sleep_on_lan.is_none().then_some("sleep_on_lan")),
        WayConfig::Redfish { .. } => ("redfish", &Want::ALL, node.redfish.is_none().then_some("redfish")),
        WayConfig::Ipmi { .. } => ("ipmi", &[Wake, On, Off, Reboot], node.ipmi.is_none().then_some("ipmi")),
        WayConfig::Proxmox {} => ("proxmox", &[Wake, On, Off, Reboot], node.proxmox.is_none().then_some("proxmox")),
        WayConfig::HomeAssistant {} => {
            let plug = node.home_assistant.as_ref().and_then(|home| home.plug.as_ref());
            ("home-assistant", &[Wake, On, Off], plug.is_none().then_some("home_assistant.plug"))
        }
        WayConfig::Http { .. } => ("http", &Want::ALL, None),
    };
    let mut problems = Vec::new();
    if !can.contains(&want) {
        let can: Vec<&str> = can.iter().map(|want| want.name()).collect();
        problems.push(format!("`via: {name}` cannot do this; it can: {}", can.join(", ")));
    }
    problems.extend(needs.map(|field| format!("`via: {name}` needs the node's `{field}`")));
    match way {
        WayConfig::Ipmi { force: false } if want == Reboot => {
            problems.push("IPMI knows no graceful restart: say `force: true`, or choose another way".into());
        }
        WayConfig::HomeAssistant {} if want == Off && (node.watts.is_none() || node.probe.is_none() && node.witnesses.is_empty()) => {
            problems
                .push("a plug is cut only under a node that is silent and draws nothing: give `watts`, `idle_watts` and a witness".into());
        }
        WayConfig::SleepOnLan { operation } => {
            let operation = operation.as_deref().unwrap_or("sleep");
            if operation.is_empty() || !operation.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
                problems.push(format!("`operation` is `{operation}`, expected letters, digits, `-` and `_`"));
            }
            if want != Sleep && operation == "sleep" {
                problems.push("give the `operation` that the agent has for this, such as `shutdown`".into());
            }
        }
        _ => {}
    }
    problems
}
