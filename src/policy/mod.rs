//! Writing policies: everything between an idea and a policy that has earned to run.
//!
//! `args` (what can be said); the work is done in the crate `authoring`. Deliberately absent: a second way to evaluate, rule or judge; every
//! command here feeds the production kernel and looks at what it says. An editor breaks this by letting anything here act.

pub mod args;

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show, with_big_stack};
use crate::{doctor, rules};
use anyhow::{Context, anyhow};
use args::PolicyCommand;
use homeostat_authoring::suite;
use serde_json::json;
use std::path::{Path, PathBuf};

/// `homeostat policy …`
///
/// # Errors
/// What the command could not do.
pub async fn run(place: Place, command: PolicyCommand, json: bool) -> Ended {
    match command {
        PolicyCommand::List => list_policies(place, json),
        PolicyCommand::Test { paths } => test_policies(place, &paths, json),
    }
}

fn list_policies(place: Place, json: bool) -> Ended {
    let (config, _) = configured(place)?;
    let policies = rules::policies(&config)?;
    let doc = |text: &str| text.lines().find_map(|line| line.strip_prefix("//!")).unwrap_or("").trim().to_owned();
    if json {
        show::json(&policies.iter().map(|p| json!({ "policy": p.id, "path": p.path, "doc": doc(&p.text) })).collect::<Vec<_>>())?;
    } else {
        println!(
            "{}",
            show::table(&["policy", "path", "for"], policies.iter().map(|p| vec![p.id.to_string(), p.path.clone(), doc(&p.text)]))
        );
    }
    Ok(Exit::Ok)
}

/// Files as given, and the tests of given folders.
fn test_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("the folder {} cannot be read", path.display()))?;
        let found = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        files.extend(found.filter(|path| path.to_string_lossy().ends_with(".test.yaml")));
    }
    files.sort();
    anyhow::ensure!(!files.is_empty(), "there is no `*.test.yaml`; name files or folders");
    Ok(files)
}

fn test_policies(place: Place, paths: &[PathBuf], json: bool) -> Ended {
    let (config, _) = configured(place)?;
    let own = config.policies.dir.clone().unwrap_or_else(|| Path::new("policies").into());
    let files = test_files(if paths.is_empty() { std::slice::from_ref(&own) } else { paths })?;
    let specs = doctor::actuator_specs(&config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let (mut passed, mut failed, mut rows) = (0, 0, Vec::new());
    for file in &files {
        let failures = match with_big_stack(|| suite::run_file(file, &specs))? {
            Ok(report) => {
                passed += report.passed;
                report.failures
            }
            Err(error) => vec![format!("cannot be run: {error:#}")],
        };
        failed += failures.len();
        if !json {
            println!("{:<5} {}", if failures.is_empty() { "ok" } else { "FAIL" }, file.display());
            failures.iter().for_each(|failure| println!("      {}", show::clean(failure)));
        }
        rows.push(json!({ "file": file, "failures": failures }));
    }
    if json {
        show::json(&json!({ "passed": passed, "failed": failed, "files": rows }))?
    } else {
        println!("{passed} passed, {failed} failed")
    }
    Ok(if failed > 0 { Exit::Failed } else { Exit::Ok })
}
