//! The folder of one run, and what the runner left in it.
//!
//! Layout (ansible-runner): `env/extravars`, `env/cmdline`, `project`, `inventory`, `artifacts/<ident>/{rc,status,job_events/<n>-<uuid>.json}`.
//! Deliberately absent: reading the whole output. An editor breaks this by reading the events in the order of the file system.

use serde_json::Value;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The command line of a check.
pub(super) const CHECK: &str = "--check --diff";
/// How many runs' folders are kept.
const KEPT: usize = 20;
/// How many events are looked at.
const EVENTS_MAX: usize = 100_000;
/// An event is never longer; a longer one is left out.
const EVENT_BYTES_MAX: u64 = 1024 * 1024;
/// How many failures are named.
const NAMED_MAX: usize = 3;

/// A run's folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    ident: String,
}

/// What the artifacts tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub rc: i64,
    status: String,
    /// Whether the last event (`playbook_on_stats`) is there: without it nobody counted.
    counted: bool,
    ok: u64,
    changed: u64,
    failures: u64,
    dark: u64,
    /// Host and task of the first failures.
    failed: Vec<String>,
}

impl Told {
    pub(super) fn is_good(&self) -> bool {
        self.rc == 0 && self.counted && self.failures == 0 && self.dark == 0 && self.status == "successful"
    }

    pub(super) fn shown(&self) -> String {
        let named = if self.failed.is_empty() { String::new() } else { format!("; {}", self.failed.join("; ")) };
        let counted = if self.counted { "" } else { " (no final count)" };
        let (ok, changed, failures, dark) = (self.ok, self.changed, self.failures, self.dark);
        format!("rc {}, {}: ok {ok}, changed {changed}, failed {failures}, unreachable {dark}{counted}{named}", self.rc, self.status)
    }
}

impl Folder {
    /// The folder of this run, there or not.
    pub(super) fn of(work: &Path, ident: &str) -> Folder {
        Folder { path: work.join(ident), ident: ident.to_owned() }
    }

    /// Makes it anew with its variables.
    pub(super) fn make(work: &Path, ident: &str, data: &Path, vars: &Value, is_check: bool) -> io::Result<Folder> {
        use std::os::unix::fs::{DirBuilderExt, symlink};
        let folder = Folder::of(work, ident);
        fs::create_dir_all(work)?;
        fs::DirBuilder::new().mode(0o700).create(&folder.path).or_else(|error| match error.kind() {
            // A number that never started may be tried again; its empty folder is ours.
            io::ErrorKind::AlreadyExists if !folder.path.join("artifacts").exists() => {
                fs::remove_dir_all(&folder.path).and_then(|()| fs::DirBuilder::new().mode(0o700).create(&folder.path))
            }
            _ => Err(error),
        })?;
        let env = folder.path.join("env");
        fs::create_dir(&env)?;
        fs::write(env.join("extravars"), vars.to_string())?;
        if is_check {
            fs::write(env.join("cmdline"), CHECK)?;
        }
        for part in ["project", "inventory"] {
            symlink(data.join(part), folder.path.join(part))?;
        }
        for part in ["ssh_key", "passwords", "settings", "envvars"] {
            if data.join("env").join(part).exists() {
                symlink(data.join("env").join(part), env.join(part))?;
            }
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn ident(&self) -> &str {
        &self.ident
    }

    /// What the runner left; `None`: no end.
    pub(super) fn told(&self) -> Option<Told> {
        let artifacts = self.path.join("artifacts").join(&self.ident);
        let rc = fs::read_to_string(artifacts.join("rc")).ok()?.trim().parse().ok()?;
        let status = fs::read_to_string(artifacts.join("status")).unwrap_or_default().trim().chars().take(20).collect();
        let mut told = Told { rc, status, ..Told::default() };
        let mut events: Vec<(u64, PathBuf)> = fs::read_dir(artifacts.join("job_events"))
            .into_iter()
            .flatten()
            .flatten()
            .take(EVENTS_MAX)
            .filter_map(|entry| Some((entry.file_name().to_str()?.split_once('-')?.0.parse().ok()?, entry.path())))
            .filter(|(_, path)| path.extension().is_some_and(|end| end == "json"))
            .collect();
        events.sort();
        for (_, path) in events {
            told.hear(&read(&path).unwrap_or_default());
        }
        Some(told)
    }
}

impl Told {
    fn hear(&mut self, event: &Value) {
        let data = &event["event_data"];
        match event["event"].as_str() {
            Some("playbook_on_stats") => {
                let sum = |name: &str| data[name].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
                (self.ok, self.changed, self.failures, self.dark) = (sum("ok"), sum("changed"), sum("failures"), sum("dark"));
                self.counted = true;
            }
            Some(kind @ ("runner_on_failed" | "runner_on_unreachable")) if self.failed.len() < NAMED_MAX => {
                let text = |name: &str| data[name].as_str().unwrap_or("?").to_owned();
                let why = data["res"]["msg"].as_str().unwrap_or_default().chars().take(120).collect::<String>();
                let kind = kind.trim_start_matches("runner_on_");
                self.failed.push(format!("{} `{}` {kind}: {why}", text("host"), text("task")));
            }
            _ => {}
        }
    }
}

fn read(path: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(EVENT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Drops the folders of old runs, the newest kept; only folders with the shape of a run.
pub(super) fn prune(work: &Path) {
    let is_run = |path: &Path| path.join("env/extravars").is_file();
    let mut runs: Vec<_> = fs::read_dir(work)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| is_run(&entry.path()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    runs.sort();
    for (_, path) in runs.iter().rev().skip(2 * KEPT) {
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::warn!(folder = %path.display(), %error, "The folder of an old run stays.");
        }
    }
}
