//! `homeostat policy watch`: whenever a policy or its test is saved, check, tests and the last hours in one screen.
//!
//! Only what was saved is looked at again. Deliberately absent: anything of its own; it calls what `check`, `test` and `backtest` call.
//! An editor breaks this by going to the network here: it must answer within a second.

use super::backtest;
use super::test::cleaned;
use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show, with_big_stack};
use crate::config::Config;
use crate::http::view::{distance, moment};
use crate::{doctor, rules};
use anyhow::{Context, anyhow, ensure};
use homeostat_authoring::diagnose::{Around, Severity, check_policy, of_errors, render};
use homeostat_authoring::suite::{self, Options, Unrunnable, output};
use homeostat_model::{PolicySource, Span, Time};
use notify::Watcher;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// How far the backtest looks back.
const BACK: Span = Span::from_hours(6);
/// Saved files that wait to be looked at; more are one look at everything.
const CHANGES_MAX: usize = 256;
/// Editors write a file in several steps: so long nothing more must come.
const SETTLED: Duration = Duration::from_millis(80);

/// A policy as it was looked at last.
#[derive(Clone, Debug, Serialize)]
struct Looked {
    policy: String,
    errors: usize,
    warnings: usize,
    passed: usize,
    failed: usize,
    /// Share of the branches that the tests take, 0 to 100.
    coverage: Option<f64>,
    /// Firings within the last hours; nothing where no recording says so.
    firings: Option<usize>,
    /// When the newest of them began.
    fired_at: Option<Time>,
    /// What is wrong, in full.
    text: String,
}

impl Looked {
    fn is_well(&self) -> bool {
        self.errors == 0 && self.failed == 0
    }
}

/// What stays the same while it is watched.
struct Watched {
    config: Config,
    data: PathBuf,
    dir: PathBuf,
    around: Around,
    policies: Vec<PolicySource>,
}

/// `homeostat policy watch`
pub(super) async fn watch(place: Place, dir: Option<PathBuf>, once: bool, json: bool) -> Ended {
    let (config, data) = configured(place)?;
    let dir = dir.or_else(|| config.policies.dir.clone()).unwrap_or_else(|| "policies".into());
    ensure!(dir.is_dir(), "{} is not a folder: name the one with your policies, or begin with `homeostat policy new`", dir.display());
    let specs = doctor::actuator_specs(&config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let loaded = rules::rule_set_on(&config, specs.clone(), Vec::new())?;
    let around = Around {
        actuators: specs,
        playbooks: loaded.playbooks.iter().map(|playbook| playbook.id.clone()).collect(),
        live: None,
        retention: loaded.store.retention,
    };
    let watched = Watched { config, data, dir, around, policies: loaded.policies };
    let (sender, mut saved) = mpsc::channel(CHANGES_MAX);
    let _watcher = if once { None } else { Some(watcher(&watched.dir, sender)?) };
    let mut looked: BTreeMap<String, Looked> = BTreeMap::new();
    let mut names = all(&watched.dir)?;
    loop {
        let now = Time(jiff::Timestamp::now().as_millisecond());
        let again = with_big_stack(|| look(&watched, &names, now))?;
        looked.retain(|name, _| !names.contains(name));
        looked.extend(again.into_iter().map(|one| (one.policy.clone(), one)));
        let policies: Vec<&Looked> = looked.values().collect();
        if json {
            show::json(&policies)?;
        } else {
            print(&policies, now, &watched.dir, once);
        }
        if once {
            return Ok(if policies.iter().all(|one| one.is_well()) { Exit::Ok } else { Exit::Failed });
        }
        names = tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
            names = changes(&mut saved, &watched.dir) => names?,
        };
    }
}

/// The policies of a folder.
fn all(dir: &Path) -> anyhow::Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("the folder {} cannot be read", dir.display()))?;
    Ok(entries.filter_map(|entry| name_of(&entry.ok()?.path())).collect())
}

/// The policy that a file belongs to.
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".rhai").or_else(|| name.strip_suffix(".test.yaml"))?;
    (!stem.starts_with('.') && !stem.is_empty()).then(|| stem.to_owned())
}

fn watcher(dir: &Path, saved: mpsc::Sender<String>) -> anyhow::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if event.kind.is_access() {
            return;
        }
        // Where there is no room, what waits there is answered by a look at everything.
        event.paths.iter().filter_map(|path| name_of(path)).for_each(|name| drop(saved.try_send(name)));
    })
    .context("the system does not tell of saved files")?;
    watcher.watch(dir, notify::RecursiveMode::NonRecursive).with_context(|| format!("watch {}", dir.display()))?;
    Ok(watcher)
}

/// Waits for something to be saved, and until nothing more comes.
async fn changes(saved: &mut mpsc::Receiver<String>, dir: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    names.extend(saved.recv().await);
    let mut count = 1;
    while let Ok(Some(name)) = tokio::time::timeout(SETTLED, saved.recv()).await {
        names.insert(name);
        count += 1;
    }
    if count >= CHANGES_MAX {
        return all(dir);
    }
    Ok(names)
}

/// Looks at these policies; those that are gone are left out.
fn look(watched: &Watched, names: &BTreeSet<String>, now: Time) -> Vec<Looked> {
    let mut found = Vec::new();
    for name in names {
        let path = watched.dir.join(format!("{name}.rhai"));
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let mut looked = checked(watched, name, &path, &text);
        tested(watched, &mut looked);
        found.push(looked);
    }
    // What does not load cannot be asked about the past.
    let sound: Vec<PathBuf> =
        found.iter().filter(|one| one.errors == 0).map(|one| watched.dir.join(format!("{}.rhai", one.policy))).collect();
    if sound.is_empty() {
        return found;
    }
    if let Ok(past) = backtest::recent(&watched.config, &watched.data, &sound, now - BACK, now) {
        for backtest in past {
            if let Some(one) = found.iter_mut().find(|one| backtest.policies.contains(&one.policy)) {
                one.firings = Some(backtest.firings.len());
                one.fired_at = backtest.firings.iter().map(|firing| firing.from).max();
            }
        }
    }
    found
}

fn checked(watched: &Watched, name: &str, path: &Path, text: &str) -> Looked {
    let overrides = watched.policies.iter().find(|policy| policy.id.as_str() == name).map(|policy| policy.overrides.clone());
    let findings = check_policy(&path.display().to_string(), text, &overrides.unwrap_or_default(), &watched.around);
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    Looked {
        policy: name.to_owned(),
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        passed: 0,
        failed: 0,
        coverage: None,
        firings: None,
        fired_at: None,
        text: render(&findings, text, false),
    }
}

fn tested(watched: &Watched, looked: &mut Looked) {
    let file = watched.dir.join(format!("{}.test.yaml", looked.policy));
    let Ok(text) = std::fs::read_to_string(&file) else { return };
    let options = Options { coverage: true, ..Options::with(&watched.around.actuators) };
    match suite::run_file(&file, &options) {
        Ok(report) => {
            looked.passed = report.passed();
            looked.failed = report.failures().count();
            looked.coverage = report.coverage.as_ref().map(suite::Coverage::percent);
            looked.text += &output::failures(&report);
        }
        Err(Unrunnable::Wrong(errors)) => {
            looked.failed = 1;
            looked.text += &render(&of_errors(&errors, &text), &text, false);
        }
        Err(Unrunnable::Other(_)) if looked.errors > 0 => {}
        Err(Unrunnable::Other(error)) => {
            looked.failed = 1;
            looked.text += &error;
            looked.text.push('\n');
        }
    }
}

fn print(policies: &[&Looked], now: Time, dir: &Path, once: bool) {
    if !once && std::io::stdout().is_terminal() {
        print!("\x1b[2J\x1b[H");
    }
    let row = |one: &&Looked| {
        let check = match (one.errors, one.warnings) {
            (0, 0) => "ok".into(),
            (0, warnings) => format!("{warnings} warnings"),
            (errors, _) => format!("{errors} ERRORS"),
        };
        let tests = match (one.passed, one.failed) {
            (0, 0) => "none".into(),
            (passed, 0) => format!("{passed} ok"),
            (passed, failed) => format!("{failed} FAILED, {passed} ok"),
        };
        let coverage = one.coverage.map_or_else(String::new, |percent| format!("{percent:.0} %"));
        let past = match (one.firings, one.fired_at) {
            (None, _) => "no recording".into(),
            (Some(count), Some(at)) => format!("{count}, the last {}", distance(now, at)),
            (Some(count), None) => count.to_string(),
        };
        vec![one.policy.clone(), check, tests, coverage, past]
    };
    let back = format!("firings in {BACK}");
    println!("{}", show::table(&["policy", "check", "tests", "branches", &back], policies.iter().map(row)));
    for one in policies.iter().filter(|one| !one.text.is_empty()) {
        println!("\n{}", cleaned(&one.text).trim_end());
    }
    if !once {
        println!("\n{}  watching {}; Ctrl-C ends it", moment(now), dir.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_belong_to_policies() {
        let name = |path: &str| name_of(Path::new(path));
        assert_eq!(name("a/hot-disk.rhai").as_deref(), Some("hot-disk"));
        assert_eq!(name("hot-disk.test.yaml").as_deref(), Some("hot-disk"));
        for other in ["hot-disk.rhai~", ".hot-disk.rhai.swp", ".rhai", ".#hot-disk.rhai", "notes.md"] {
            assert_eq!(name(other), None, "{other}");
        }
    }
}
