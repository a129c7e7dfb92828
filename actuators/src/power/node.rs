//! One node, built: its ways, its witnesses, and what speaks against doing something to it.
//!
//! What speaks against it once and for all (its role, its being the engine's own host) is found when it is built; what has to be asked is asked
//! before anything is sent, and who cannot be asked counts as a "no". Deliberately absent: the flows. An editor breaks this by taking an
//! unanswered question for "nobody is logged in".

use super::checking;
use super::config::{NodeConfig, Role, Want};
use super::magic::Mac;
use super::memory::Memory;
use super::reading::{self, Reading};
use super::rental::{Costs, Measured};
use super::way::Way;
use super::witness::Witness;
use homeostat_model::{Action, Arg, FaultCode, Planned, Span, Time};
use reqwest::Url;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// The argument of `power.sleep` that says how long the node has been idle.
pub(super) const IDLE_FOR: &str = "idle_for";

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub name: String,
    pub config: NodeConfig,
    pub mac: Option<Mac>,
    pub witnesses: Vec<Witness>,
    pub ways: BTreeMap<Want, Way>,
    pub boot_id: Option<Reading>,
    sessions: Option<Reading>,
    storage: Option<(Reading, String)>,
    forbidden: BTreeMap<Want, String>,
    costs: Option<Costs>,
    /// What its remembered boots say, so that looking at an action reads no file.
    measured: Mutex<Measured>,
}

/// When a nap of a node pays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Nap {
    /// From so much idle time on; the longest span: never.
    pub after: Span,
    /// The costs that say so.
    pub costs: Costs,
    /// The boots that were measured, if they count.
    pub measured: Option<Measured>,
}

/// What this machine is called.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl Own {
    /// This machine's name and addresses, as the kernel has them; loopback is nobody's.
    pub(super) fn here() -> Own {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let addresses = addresses(&read("/proc/net/fib_trie"), &read("/proc/net/if_inet6"));
        Own { names: vec![read("/proc/sys/kernel/hostname").trim().to_owned()], addresses }
    }

    fn is(&self, name: &str) -> bool {
        let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
        match name.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.names.iter().any(|own| !own.is_empty() && short(own) == short(name)),
        }
    }
}

/// In `/proc/net/fib_trie` an IPv4 address stands in the line before its `/32 host LOCAL`; `/proc/net/if_inet6` begins each line with 32 digits.
fn addresses(trie: &str, inet6: &str) -> Vec<IpAddr> {
    let lines: Vec<&str> = trie.lines().collect();
    let local = lines.windows(2).filter(|pair| pair[1].contains("host LOCAL"));
    let v4 = local.filter_map(|pair| pair[0].trim().strip_prefix("|-- ")?.parse().ok());
    let six = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok().map(|bits| IpAddr::V6(bits.into()));
    v4.map(IpAddr::V4).chain(inet6.lines().filter_map(six)).filter(|address| !address.is_loopback()).collect()
}

impl Node {
    /// Checks and builds; sends nothing. `euros_per_kwh` is the price of energy. Every problem is listed.
    pub(super) fn new(name: &str, config: &NodeConfig, own: &Own, euros_per_kwh: f64) -> Result<Node, Vec<String>> {
        let mut problems = checking::problems(name, config);
        problems.extend(reading::problems(config));
        let mac = config.mac.as_ref().and_then(|mac| mac.parse().map_err(|problem| problems.push(problem)).ok());
        let witnesses = Witness::all(config).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        let mut ask = |field: &str, ask: Option<&super::config::ReadingConfig>| {
            let reading = Reading::new(ask?, config);
            reading.map_err(|problem| problems.push(format!("`{field}`: {problem}"))).ok()
        };
        let sessions = ask("sessions", config.sessions.as_ref());
        let boot_id = ask("boot_id", config.boot_id.as_ref());
        let check = config.storage_check.as_ref();
        let storage = ask("storage_check", check.map(|check| &check.ask)).zip(check.map(|check| check.equals.clone()));
        let mut ways = BTreeMap::new();
        if problems.is_empty() {
            for want in Want::ALL {
                match config.way(want).map(|way| Way::new(&way, config)) {
                    Some(Ok(way)) => drop(ways.insert(want, way)),
                    Some(Err(problem)) => problems.push(format!("`{}`: {problem}", want.name())),
                    None => {}
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let forbidden = forbidden(name, config, &witnesses, own);
        let costs = config.costs(euros_per_kwh);
        let measured = Mutex::default();
        Ok(Node { name: name.into(), config: config.clone(), mac, witnesses, ways, boot_id, sessions, storage, forbidden, costs, measured })
    }

    /// Why this is never done to it.
    pub(super) fn forbidden(&self, want: Want) -> Option<&str> {
        self.forbidden.get(&want).map(String::as_str)
    }

    /// Takes up what its boots say.
    pub(super) fn learn(&self, measured: Measured) {
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = measured;
    }

    /// When sleeping pays, by its boots as they were measured or else by the configured figures; nothing, if those are not given.
    pub(super) fn nap(&self) -> Option<Nap> {
        let measured = *self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let (costs, counts) = self.costs?.as_measured(&measured);
        Some(Nap { after: costs.break_even(), costs, measured: counts.then_some(measured) })
    }

    /// What its arguments say against a nap, by looking at them and at what is known of the node only.
    pub(super) fn too_soon(&self, action: &Action) -> Result<(), (FaultCode, String)> {
        // Playbooks have no arguments that are left out: an empty one says that nobody asks whether it pays.
        let Some(text) = action.args.get(IDLE_FOR).and_then(Arg::as_text).filter(|text| !text.is_empty()) else { return Ok(()) };
        let idle = text.parse::<Span>().map_err(|error| (FaultCode::Malformed, format!("`{IDLE_FOR}`: {error}")))?;
        match self.nap().filter(|nap| idle < nap.after) {
            Some(nap) => Err((FaultCode::Conflict, format!("it has been idle for {idle}, and {}", nap.against()))),
            None => Ok(()),
        }
    }

    /// What speaks against rest at this moment, asked now. `Conflict`: it was seen; other codes: it could not be asked.
    pub(super) async fn objection(&self, want: Want) -> Option<(FaultCode, String)> {
        if let Some(sessions) = &self.sessions {
            match sessions.count().await {
                Ok(count) if count > 0.0 => return Some((FaultCode::Conflict, format!("{count} logged in on it"))),
                Ok(_) => {}
                Err((code, why)) => return Some((code, format!("whether somebody is logged in cannot be asked: {why}"))),
            }
        }
        if let Some((storage, equals)) = self.storage.as_ref().filter(|_| want != Want::Reboot) {
            match storage.text().await {
                Ok(text) if text == *equals => {}
                Ok(text) => {
                    let text: String = text.chars().take(100).collect();
                    return Some((
                        FaultCode::Conflict,
                        format!("what it stores may be the last copy: the check says `{text}`, expected `{equals}`"),
                    ));
                }
                Err((code, why)) => return Some((code, format!("whether what it stores is elsewhere cannot be asked: {why}"))),
            }
        }
        None
    }

    /// The questions that are asked before rest or a restart.
    pub(super) fn questions(&self, want: Want) -> Vec<Planned> {
        let storage = self.storage.as_ref().filter(|_| want != Want::Reboot).map(|(reading, _)| reading);
        let boot_id = self.boot_id.as_ref().filter(|_| want == Want::Reboot);
        [self.sessions.as_ref(), storage, boot_id].into_iter().flatten().map(Reading::planned).collect()
    }

    /// Whether it has been up, or down, for too short a time.
    pub(super) fn unrested(&self, want: Want, memory: &Memory, now: Time) -> Option<String> {
        let (since, min, what, field) = match want {
            Want::Sleep | Want::Off => (memory.woken_at, self.config.min_up, "woken", "min_up"),
            Want::Wake | Want::On => (memory.rested_at, self.config.min_down, "put to rest", "min_down"),
            Want::Reboot => return None,
        };
        let ago = now.since(since?);
        (ago < min).then(|| format!("it was {what} {ago} ago, and `{field}` is {min}"))
    }
}

impl Nap {
    /// Whether it never pays.
    pub(super) fn never_pays(&self) -> bool {
        self.after == Span(i64::MAX)
    }

    fn against(&self) -> String {
        let wear = if self.costs.wear_euros > 0.0 { " with its wear" } else { "" };
        let boot = match self.measured {
            Some(Measured { time, .. }) => format!("its boots take {time} as measured, and such a boot{wear}"),
            None => format!("a boot{wear}"),
        };
        let pays = if self.never_pays() { "sleeping never pays".into() } else { format!("sleeping pays only after {}", self.after) };
        format!("{pays}: {boot} costs more than the nap saves")
    }

    /// `sleeping pays after 3m3s104ms of idle time: …` with all figures, for people.
    pub(super) fn words(&self) -> String {
        let Costs { boot_joules, boot_seconds, awake_watts, asleep_watts, wear_euros, euros_per_kwh } = self.costs;
        let pays =
            if self.never_pays() { "sleeping never pays".into() } else { format!("sleeping pays after {} of idle time", self.after) };
        let source = match self.measured {
            Some(Measured { boots, joules: Some(_), .. }) => format!("as measured and metered, {boots} boots"),
            Some(Measured { boots, joules: None, .. }) => format!("as measured, {boots} boots"),
            None => "as configured".into(),
        };
        let wear = if wear_euros > 0.0 { format!(", {wear_euros} € of wear at {euros_per_kwh} €/kWh") } else { String::new() };
        format!(
            "{pays}: a boot of {boot_seconds:.0} s and {boot_joules:.0} J ({source}), {awake_watts} W awake, {asleep_watts} W asleep{wear}"
        )
    }
}

fn forbidden(name: &str, config: &NodeConfig, witnesses: &[Witness], own: &Own) -> BTreeMap<Want, String> {
    let mut forbidden = BTreeMap::new();
    for want in &config.never {
        forbidden.insert(*want, format!("its configuration says `never: [{}]`", want.name()));
    }
    let role = match config.role {
        Role::Worker => None,
        Role::ControlPlane => Some("it runs the control plane"),
        Role::Quorum => Some("it votes in a quorum"),
    };
    for want in [Want::Sleep, Want::Off] {
        if let Some(role) = role {
            forbidden.entry(want).or_insert_with(|| role.into());
        }
    }
    let host = |url: &str| Url::parse(url).ok().and_then(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
    let mut names = vec![name.to_owned()];
    names.extend(config.also_known_as.iter().cloned());
    names.extend(witnesses.iter().filter_map(Witness::host));
    names.extend(config.ssh.as_ref().map(|ssh| ssh.host.clone()));
    names.extend(config.sleep_on_lan.as_ref().and_then(|agent| host(&agent.url)));
    if let Some(own) = names.iter().find(|name| own.is(name)) {
        for want in [Want::Sleep, Want::Off, Want::Reboot] {
            forbidden.insert(want, format!("it is the host that this engine runs on (`{own}`)"));
        }
    }
    forbidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_found() {
        let trie = "Main:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.0\n        /24 link UNICAST\n     |-- 192.168.1.7\n        /32 host LOCAL\n";
        let six = "00000000000000000000000000000001 01 80 10 80       lo\nfd000000000000000000000000000007 02 40 00 80     eth0\n";
        let found = addresses(trie, six);
        assert_eq!(found, ["192.168.1.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
        let own = Own { names: vec!["Brain.lan".into()], addresses: found };
        assert!(own.is("brain") && own.is("brain.home") && own.is("fd00::7") && !own.is("muscle") && !own.is("127.0.0.1"));
    }
}
