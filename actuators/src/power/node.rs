//! One node, built: its ways, its witnesses, and what speaks against doing something to it.
//!
//! What speaks against it once and for all (its role, its being the engine's own host) is found when it is built; what has to be asked is asked
//! before anything is sent, and who cannot be asked counts as a "no". Deliberately absent: the flows. An editor breaks this by taking an
//! unanswered question for "nobody is logged in".

use super::checking;
use super::config::{NodeConfig, Role, Want};
use super::economy::break_even;
use super::magic::Mac;
use super::memory::Memory;
use super::reading::{self, Reading};
use super::way::Way;
use super::witness::Witness;
use homeostat_model::{Action, Arg, FaultCode, Planned, Span, Time};
use reqwest::Url;
use std::collections::BTreeMap;
use std::net::IpAddr;

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
    /// Checks and builds; sends nothing. Every problem is listed.
    pub(super) fn new(name: &str, config: &NodeConfig, own: &Own) -> Result<Node, Vec<String>> {
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
        Ok(Node { name: name.into(), config: config.clone(), mac, witnesses, ways, boot_id, sessions, storage, forbidden })
    }

    /// Why this is never done to it.
    pub(super) fn forbidden(&self, want: Want) -> Option<&str> {
        self.forbidden.get(&want).map(String::as_str)
    }

    /// From how much idle time on sleeping pays, if a boot takes so long; nothing, if the figures are not configured.
    fn break_even(&self, boot_time: Span) -> Option<Span> {
        let NodeConfig { boot_joules, awake_watts, asleep_watts, .. } = self.config;
        (awake_watts > 0.0).then(|| break_even(boot_joules, boot_time.seconds(), awake_watts, asleep_watts))
    }

    /// What the arguments say against it, by looking at them and at the configuration only.
    pub(super) fn too_soon(&self, action: &Action) -> Result<(), (FaultCode, String)> {
        let Some(Arg::Text(text)) = action.args.get(IDLE_FOR) else { return Ok(()) };
        let idle = text.parse::<Span>().map_err(|error| (FaultCode::Malformed, format!("`{IDLE_FOR}`: {error}")))?;
        match self.break_even(self.config.boot_time).filter(|needed| idle < *needed) {
            Some(needed) => Err((FaultCode::Conflict, pays_only_after(idle, needed, "a boot costs more than the nap saves"))),
            None => Ok(()),
        }
    }

    /// The same by what its boots were measured to take, where that is longer than configured.
    pub(super) fn too_soon_as_measured(&self, action: &Action, memory: &Memory) -> Option<String> {
        let idle = action.args.get(IDLE_FOR).and_then(Arg::as_text)?.parse::<Span>().ok()?;
        let boot_time = memory.boot_time().filter(|measured| *measured > self.config.boot_time)?;
        let needed = self.break_even(boot_time).filter(|needed| idle < *needed)?;
        Some(pays_only_after(
            idle,
            needed,
            &format!("its boots take {boot_time} as measured, and such a boot costs more than the nap saves"),
        ))
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

fn pays_only_after(idle: Span, needed: Span, why: &str) -> String {
    let needed = if needed == Span(i64::MAX) { "never".into() } else { needed.to_string() };
    format!("it has been idle for {idle}, and sleeping pays only after {needed}: {why}")
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
