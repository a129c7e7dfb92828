//! Writing policies: everything between an idea and a policy that has earned to run.
//!
//! `args` (what can be said); the work is done in the crate `authoring`. Deliberately absent: a second way to evaluate, rule or judge; every
//! command here feeds the production kernel and looks at what it says. An editor breaks this by letting anything here act.

pub mod args;
pub mod backtest;
pub mod check;
mod compare;
pub mod doc;
mod draft;
pub mod fuzz;
mod history;
pub mod lint;
pub mod new;
mod repl;
mod test;
mod watch;

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show};
use crate::rules;
use anyhow::Context;
use args::PolicyCommand;
use serde_json::json;
use std::path::PathBuf;

/// `homeostat policy …`
///
/// # Errors
/// What the command could not do.
pub async fn run(place: Place, command: PolicyCommand, json: bool) -> Ended {
    match command {
        PolicyCommand::List => list_policies(place, json),
        PolicyCommand::Check(args) => check::check(place, &args, json).await,
        PolicyCommand::Backtest(args) => backtest::run(place, args, json).await,
        PolicyCommand::Compare { policy, tolerance } => compare::compare(place, policy.as_deref(), tolerance, json),
        PolicyCommand::Lint(args) => lint::lint(place, &args, json).await,
        PolicyCommand::Fuzz(args) => fuzz::fuzz(place, &args, json),
        PolicyCommand::Doc(args) => doc::doc(&args, json),
        PolicyCommand::Repl => repl::repl(place, json).await,
        PolicyCommand::New(args) => new::new(place, &args, json),
        PolicyCommand::Draft(args) => draft::draft(place, &args, json),
        PolicyCommand::Watch { dir, once } => watch::watch(place, dir, once, json).await,
        PolicyCommand::Test { paths, name, coverage, junit } => {
            test::test_policies(place, &test::Asked { paths, name, coverage, junit }, json)
        }
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

/// Files as given, and those of given folders whose names end in one of these, in order and each once.
fn files(paths: &[PathBuf], endings: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("the folder {} cannot be read", path.display()))?;
        let found = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        files.extend(found.filter(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending))));
    }
    files.sort();
    files.dedup();
    Ok(files)
}
