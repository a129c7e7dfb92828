//! `homeostat doctor`: what works, what is missing, and how to fix it. One line per check.
//!
//! Everything is tried for real but changes nothing that stays: a probe file is removed, sensors are read once, nothing is sent.
//! Deliberately absent: repair. An editor breaks this by calling something a failure that a sound small setup lacks (that is a warning).

use crate::cli::place::Place;
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::journal::JournalReader;
use crate::{daemon as daemon_setup, own_base, rules};
use homeostat_kernel::{Effect, Kernel};
use homeostat_model::{ActuatorSpec, Event, Health, Note, Record, Time};
use homeostat_sensors::webhook::WebhookAuthConfig;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// Less free space than this is a failure …
const FREE_BYTES_MIN: u64 = 256 << 20;
/// … and less than this a warning.
const FREE_BYTES_LOW: u64 = 3 << 30;
/// Fewer file handles than this are a warning.
const OPEN_FILES_LOW: u64 = 1024;
/// A Unix socket's path has at most so many bytes (unix(7): 108 with the closing zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How a check ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It works.
    Ok,
    /// Something is missing that one may want.
    Warn,
    /// Something does not work.
    Fail,
}

impl Level {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it ended.
    pub level: Level,
    /// What was seen.
    pub text: String,
    /// More of what was seen.
    pub details: Vec<String>,
    /// What to do.
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &str, text: impl Into<String>) -> Check {
        Check { name: name.into(), level: Level::Ok, text: text.into(), details: Vec::new(), fix: None }
    }
    fn warn(name: &str, text: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { level: Level::Warn, fix: Some(fix.into()), ..Check::ok(name, text) }
    }
    fn fail(name: &str, text: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { level: Level::Fail, fix: Some(fix.into()), ..Check::ok(name, text) }
    }
}

/// All checks that ask nobody else. Needs a thread with the stack that policies need.
pub fn without_network(place: &Place) -> Vec<Check> {
    let mut checks = vec![config(place), policies(place), data_dir(place), journal(place)];
    checks.push(rapl(Path::new("/sys/class/powercap")));
    checks.push(open_files(&fs::read_to_string("/proc/self/limits").unwrap_or_default()));
    checks.push(clock(Path::new("/run/systemd/timesync/synchronized"), &processes()));
    if let Ok(config) = &place.config {
        checks.push(smartctl(config, in_path("smartctl")));
        checks.push(base(config, &place.data));
        checks.push(notify(config));
        checks.extend([webhooks(config), tokens(config)]);
    }
    checks
}

/// The configuration.
pub fn config(place: &Place) -> Check {
    match &place.config {
        Ok(config) => Check::ok("config", format!("{}: {} sensors", place.config_name(), config.sensors.len())),
        Err(error) => {
            let fix = "`homeostat config reference` explains every field";
            Check { details: vec![error.to_string()], ..Check::fail("config", "has problems", fix) }
        }
    }
}

/// What the configured actuators can do. Their marks go to a folder that is removed again.
///
/// # Errors
/// Every problem of the actuators' configuration.
pub fn actuator_specs(config: &Config) -> Result<Vec<ActuatorSpec>, Vec<String>> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let scratch: PathBuf = std::env::temp_dir().join(format!("homeostat-check-{}-{number}", std::process::id()));
    let built = homeostat_actuators::registry::build(&config.actuators, &scratch, "check");
    let _ = fs::remove_dir_all(&scratch);
    let faults = |faults: Vec<homeostat_model::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(built.map_err(faults)?.iter().map(|actuator| actuator.spec()).collect())
}

/// Whether the other sides of the actuators are there, know what is needed and let us. Reads only.
pub async fn actuators(place: &Place) -> Vec<Check> {
    const NAME: &str = "actuators";
    let Ok(config) = &place.config else { return Vec::new() };
    let scratch: PathBuf = std::env::temp_dir().join(format!("homeostat-doctor-{}", std::process::id()));
    let built = homeostat_actuators::registry::build(&config.actuators, &scratch, "doctor");
    let checks = match built {
        // `policies` says what is wrong with them.
        Err(_) => Vec::new(),
        Ok(actuators) => {
            let missing = crate::readiness::look(&actuators).await;
            let verbs = actuators.iter().map(|actuator| actuator.spec().verbs.len()).sum::<usize>();
            let bad = |(verb, fault): &(homeostat_model::Verb, homeostat_model::Fault)| {
                let off = if crate::readiness::disables(fault) { "is switched off" } else { "may fail" };
                Check::warn(verb.as_str(), format!("{off}: {}", fault.while_doing), fault.detail.clone())
            };
            let mut checks = vec![Check::ok(NAME, format!("{} of {verbs} verbs can be done", verbs - missing.len().min(verbs)))];
            checks.extend(missing.iter().map(bad));
            checks
        }
    };
    let _ = fs::remove_dir_all(&scratch);
    checks
}

/// Loads the policies into a kernel of their own: the same check as in the daemon.
pub fn policies(place: &Place) -> Check {
    const NAME: &str = "policies";
    let Ok(config) = &place.config else { return Check::warn(NAME, "not looked at", "mend the configuration first") };
    let specs = match actuator_specs(config) {
        Ok(specs) => specs,
        Err(problems) => {
            return Check { details: problems, ..Check::fail("actuators", "cannot be made", "mend `actuators` in the configuration") };
        }
    };
    let rules = match rules::rule_set(config, specs, &daemon_setup::servers(config), &place.data) {
        Ok(rules) => rules,
        Err(error) => return Check::fail(NAME, format!("{error:#}"), "name a folder with `*.rhai` under `policies.dir`, or leave it out"),
    };
    let mut kernel = Kernel::new(rules.store.clone());
    kernel.handle(Time(1), Event::Loaded(Box::new(rules)));
    let (mut loaded, mut refused) = (0, Vec::new());
    while let Some(effect) = kernel.poll_effect() {
        match effect {
            Effect::Record(Record::Noted(Note::PoliciesLoaded { policies, .. })) => loaded = policies.len(),
            Effect::Record(Record::Noted(Note::LoadRefused { errors })) => refused.extend(errors),
            _ => {}
        }
    }
    match (loaded, refused.is_empty()) {
        (_, false) => {
            Check { details: refused, ..Check::fail(NAME, "cannot be loaded; a running daemon keeps the old ones", "mend the named lines") }
        }
        (0, true) => Check::warn(NAME, "none", "put `*.rhai` into the folder under `policies.dir`"),
        (count, true) => Check::ok(NAME, format!("{count} loaded")),
    }
}

/// Free bytes where this folder is, as `df` tells.
fn free_bytes(dir: &Path) -> Option<u64> {
    let output = Command::new("df").args(["-Pk", "--"]).arg(dir).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let kilobytes: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn data_dir(place: &Place) -> Check {
    const NAME: &str = "data";
    let dir = &place.data;
    let shown = dir.display();
    if place.socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let text = format!("{}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes", place.socket.display());
        return Check::fail(NAME, text, "choose a shorter data directory, or set `socket`");
    }
    if !dir.exists() {
        return Check::warn(NAME, format!("{shown} does not exist yet"), "`homeostat run` makes it; `--data DIR` names another");
    }
    let probe = dir.join(format!(".homeostat-doctor-{}", std::process::id()));
    if let Err(error) = fs::write(&probe, b"probe") {
        let fix = "run as the user that owns it, or name another with `--data DIR`";
        return Check::fail(NAME, format!("{shown} cannot be written: {error}"), fix);
    }
    let _ = fs::remove_file(&probe);
    let fix = "free some space, or lower `journal.bytes_max` and `samples.bytes_max`; a full disk puts the daemon hands-off";
    match free_bytes(dir) {
        Some(free) if free < FREE_BYTES_MIN => Check::fail(NAME, format!("{shown} has {} MiB left", free >> 20), fix),
        Some(free) if free < FREE_BYTES_LOW => Check::warn(NAME, format!("{shown} has {} MiB left", free >> 20), fix),
        Some(free) => Check::ok(NAME, format!("{shown} is writable, {} GiB left", free >> 30)),
        None => Check::ok(NAME, format!("{shown} is writable")),
    }
}

/// A quick look: it opens, and its last entries can be read.
fn journal(place: &Place) -> Check {
    const NAME: &str = "journal";
    const LOOKED_AT: u32 = 1000;
    if !place.data.join("journal.db").exists() {
        return Check::ok(NAME, "none yet");
    }
    match JournalReader::open(&place.data).and_then(|reader| Ok((reader.tail(LOOKED_AT)?, reader.last_table_seq()?))) {
        Ok((page, last)) if page.unreadable.is_empty() => {
            Check::ok(NAME, format!("readable, last entry {last}; `homeostat journal verify` checks all of it"))
        }
        Ok((page, _)) => {
            let details = page.unreadable.iter().take(3).map(ToString::to_string).collect();
            let text = format!("{} of the last {LOOKED_AT} entries cannot be read", page.unreadable.len());
            Check {
                details,
                ..Check::fail(NAME, text, "`homeostat journal verify` says more; restore a backup, or use the version that wrote it")
            }
        }
        Err(error) => Check::fail(NAME, error.to_string(), "restore a backup, or move the file away to start a new journal"),
    }
}

/// Reads each sensor once.
pub async fn sensors(place: &Place) -> Vec<Check> {
    let Ok(config) = &place.config else { return Vec::new() };
    let mut checks = Vec::new();
    for (name, sensor) in &config.sensors {
        let title = format!("sensor {name}");
        let fix = format!("it reads {}; `homeostat sensors probe {name}` shows what it sees", crate::cli::source_of(sensor));
        checks.push(match crate::cli::read_once(config, name).await {
            Err(error) => Check::fail(&title, format!("cannot be made: {error:#}"), "mend its section in the configuration"),
            Ok(seen) => {
                let count = seen.samples.len() + seen.stamped.len();
                let details = seen.faults.iter().map(ToString::to_string).collect();
                let check = match seen.health {
                    Health::Ok => Check::ok(&title, format!("{count} samples")),
                    Health::Degraded => Check::warn(&title, format!("{count} samples, with faults"), fix),
                    Health::Blind => Check::fail(&title, "sees nothing", fix),
                };
                Check { details, ..check }
            }
        });
    }
    checks
}

/// Whether the daemon answers.
pub async fn daemon(place: &Place) -> Check {
    const NAME: &str = "daemon";
    match Client::new(&place.socket).get::<serde_json::Value>("/healthz").await {
        Ok(_) => Check::ok(NAME, format!("answers at {}", place.socket.display())),
        Err(error @ ClientError::NotRunning { .. }) => {
            Check::warn(NAME, error.to_string(), "`homeostat run`, or `systemctl start homeostat`")
        }
        Err(error) => Check::fail(NAME, error.to_string(), "its log says more: `journalctl -u homeostat`"),
    }
}

fn rapl(powercap: &Path) -> Check {
    const NAME: &str = "rapl";
    let zones =
        fs::read_dir(powercap).into_iter().flatten().flatten().map(|entry| entry.path().join("energy_uj")).filter(|path| path.exists());
    let (mut readable, mut denied) = (0, 0);
    for zone in zones {
        if fs::read_to_string(zone).is_ok() { readable += 1 } else { denied += 1 }
    }
    match (readable, denied) {
        (0, 0) => Check::ok(NAME, "this machine shows no energy counters; power comes from other sensors, if any"),
        (_, 0) => Check::ok(NAME, format!("{readable} energy counters")),
        _ => Check::warn(
            NAME,
            format!("{denied} energy counters may be read by root only"),
            "use the systemd drop-in `deploy/homeostat.service.d/rapl.conf`, or `chmod o+r /sys/class/powercap/*/energy_uj` at boot (any user could then \
             observe the processor's power, CVE-2020-8694)",
        ),
    }
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

fn smartctl(config: &Config, installed: bool) -> Check {
    const NAME: &str = "smartctl";
    let wanted = config.sensors.values().any(|sensor| sensor.kind() == "smart");
    match (wanted, installed) {
        (_, true) => Check::ok(NAME, "installed"),
        (true, false) => {
            Check::fail(NAME, "not installed, but a sensor of kind `smart` needs it", "install the package smartmontools (7.0 or newer)")
        }
        (false, false) => {
            Check::warn(NAME, "not installed: disks are not watched", "install smartmontools and add a sensor of kind `smart`")
        }
    }
}

fn base(config: &Config, data: &Path) -> Check {
    let found = own_base::find(&daemon_setup::servers(config), data);
    let names: Vec<String> = found.iter().map(|base| format!("{} ({})", base.target, base.why)).collect();
    if names.is_empty() {
        return Check::warn(
            "own base",
            "nothing found that the engine stands on",
            "name it under `arbiter.own_base`, so that it is never acted against",
        );
    }
    Check::ok("own base", format!("never acted against: {}", names.join(", ")))
}

fn notify(config: &Config) -> Check {
    let channels: Vec<&str> = config.actuators.notify.iter().flat_map(|notify| notify.channels.keys()).map(String::as_str).collect();
    if channels.is_empty() {
        let fix = "add a channel under `actuators.notify.channels` (ntfy, telegram, slack, discord, webhook)";
        return Check::warn("notify", "no channel: notices and questions go to the log only", fix);
    }
    Check::ok("notify", channels.join(", "))
}

fn webhooks(config: &Config) -> Check {
    let sources = [("alertmanager", &config.webhooks.alertmanager), ("grafana", &config.webhooks.grafana)];
    let open: Vec<&str> = sources.iter().filter(|(_, auth)| **auth == WebhookAuthConfig::None).map(|(name, _)| *name).collect();
    let fix = "set `webhooks.alertmanager` and `webhooks.grafana` (bearer, basic or grafana_hmac)";
    match (open.is_empty(), config.listen.ip().is_loopback()) {
        (true, _) => Check::ok("webhooks", "senders prove themselves"),
        (false, true) => Check::ok("webhooks", format!("anybody on this machine may post alerts ({})", open.join(", "))),
        (false, false) => {
            Check::fail("webhooks", format!("anybody who reaches {} may post alerts ({})", config.listen, open.join(", ")), fix)
        }
    }
}

fn tokens(config: &Config) -> Check {
    match config.tokens.len() {
        0 => Check::ok("tokens", "none: orders come from this machine's command line only"),
        _ => Check::ok("tokens", format!("orders over HTTP by: {}", config.tokens.keys().cloned().collect::<Vec<_>>().join(", "))),
    }
}

/// Names of running processes.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok()).map(|name| name.trim().to_owned()).collect()
}

/// Whether somebody keeps the clock right.
fn clock(timesync_mark: &Path, processes: &[String]) -> Check {
    const KEEPERS: [&str; 4] = ["chronyd", "ntpd", "openntpd", "ptp4l"];
    let keeper = processes.iter().find(|name| KEEPERS.contains(&name.as_str()));
    match (timesync_mark.exists(), keeper) {
        (true, _) => Check::ok("clock", "kept by systemd-timesyncd"),
        (false, Some(keeper)) => Check::ok("clock", format!("kept by {keeper}")),
        (false, None) => Check::warn(
            "clock",
            "nobody seems to keep this machine's clock (in a container the host may do it)",
            "enable systemd-timesyncd or install chrony; signed webhooks and claims need a right clock",
        ),
    }
}

fn open_files(limits: &str) -> Check {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    match soft {
        Some(soft) if soft < OPEN_FILES_LOW => {
            Check::warn("open files", format!("at most {soft}"), "raise `LimitNOFILE=` of the service, or `ulimit -n`, to 4096 or more")
        }
        Some(soft) => Check::ok("open files", format!("at most {soft}")),
        None => Check::ok("open files", "unlimited"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(config: Config, data: &Path) -> Place {
        Place { config_path: None, config: Ok(config), data: data.into(), socket: data.join("homeostat.sock") }
    }

    #[test]
    fn the_data_directory_is_really_written_to_and_left_clean() {
        let dir = tempfile::tempdir().unwrap();
        let check = data_dir(&place(Config::default(), dir.path()));
        assert_ne!(check.level, Level::Fail, "{check:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(data_dir(&place(Config::default(), &dir.path().join("none"))).level, Level::Warn);
        assert_eq!(data_dir(&place(Config::default(), &dir.path().join("x".repeat(120)))).level, Level::Fail);
        assert!(free_bytes(dir.path()).is_some_and(|free| free > 0));
    }

    #[test]
    fn a_broken_journal_is_a_failure_and_none_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(journal(&place(Config::default(), dir.path())).level, Level::Ok);
        fs::write(dir.path().join("journal.db"), "no table").unwrap();
        assert_eq!(journal(&place(Config::default(), dir.path())).level, Level::Fail);
    }

    #[test]
    fn what_a_small_setup_lacks_is_a_warning_and_what_is_asked_for_and_missing_a_failure() {
        let mut config = Config::default();
        assert_eq!(smartctl(&config, false).level, Level::Warn);
        assert_eq!(notify(&config).level, Level::Warn);
        assert_eq!(webhooks(&config).level, Level::Ok);
        config.listen = "0.0.0.0:9797".parse().unwrap();
        assert_eq!(webhooks(&config).level, Level::Fail);
    }

    #[test]
    fn system_files_are_read_right() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            256                  524288               files\n";
        assert_eq!(open_files(limits).level, Level::Warn);
        assert_eq!(open_files(&limits.replace("256 ", "4096 ")).level, Level::Ok);
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("synchronized");
        assert_eq!(clock(&mark, &["chronyd".into()]).level, Level::Ok);
        assert_eq!(clock(&mark, &["init".into()]).level, Level::Warn);
        assert_eq!(rapl(dir.path()).level, Level::Ok);
        fs::create_dir_all(dir.path().join("intel-rapl:0")).unwrap();
        // A folder where the counter should be: it exists and cannot be read, for root too.
        fs::create_dir(dir.path().join("intel-rapl:0/energy_uj")).unwrap();
        assert_eq!(rapl(dir.path()).level, Level::Warn);
    }
}
