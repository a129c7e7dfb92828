//! `homeostat policy test`: which tests there are, and how their results are told.
//!
//! The work is done in `homeostat_authoring::suite`. An editor breaks this by ending with success where a test could not be run.

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show, with_big_stack};
use crate::doctor;
use anyhow::{Context, anyhow};
use homeostat_authoring::suite::{self, Options, Report, Unrunnable, output};
use homeostat_model::ActuatorSpec;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What is asked for.
pub(super) struct Asked {
    pub(super) paths: Vec<PathBuf>,
    pub(super) name: String,
    pub(super) coverage: bool,
    pub(super) junit: Option<PathBuf>,
}

/// The tests of given files and folders; a policy stands for its test.
pub(super) fn test_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let beside = |path: &PathBuf| {
        if path.extension().is_some_and(|ending| ending == "rhai") { path.with_extension("test.yaml") } else { path.clone() }
    };
    let mut files: Vec<PathBuf> = super::files(paths, &[".test.yaml"])?.iter().map(beside).collect();
    // A policy and its test may both have been named.
    files.sort();
    files.dedup();
    anyhow::ensure!(!files.is_empty(), "there is no `*.test.yaml`; name files or folders");
    Ok(files)
}

/// Runs one file.
pub(super) fn run_one(file: &Path, specs: &[ActuatorSpec], asked: &Asked) -> anyhow::Result<Result<Report, Unrunnable>> {
    let options = Options { actuators: specs.to_vec(), filter: asked.name.clone(), coverage: asked.coverage };
    with_big_stack(|| suite::run_file(file, &options))
}

/// `homeostat policy test`
pub(super) fn test_policies(place: Place, asked: &Asked, json: bool) -> Ended {
    let (config, _) = configured(place)?;
    let own = config.policies.dir.clone().unwrap_or_else(|| Path::new("policies").into());
    let files = test_files(if asked.paths.is_empty() { std::slice::from_ref(&own) } else { &asked.paths })?;
    let specs = doctor::actuator_specs(&config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let (mut reports, mut broken) = (Vec::new(), Vec::new());
    for file in &files {
        match run_one(file, &specs, asked)? {
            Ok(report) => {
                if !json && !report.results.is_empty() {
                    print!("{}", cleaned(&output::lines(&report)));
                    println!();
                }
                reports.push(report);
            }
            Err(error) => {
                if !json {
                    println!("running {}\n{}\n", file.display(), cleaned(&error.to_string()));
                }
                broken.push((file.display().to_string(), error.to_string()));
            }
        }
    }
    if let Some(path) = &asked.junit {
        std::fs::write(path, output::junit(&reports, &broken)).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    tell(&reports, &broken, asked, json)
}

fn tell(reports: &[Report], broken: &[(String, String)], asked: &Asked, json: bool) -> Ended {
    let passed: usize = reports.iter().map(Report::passed).sum();
    let failed: usize = reports.iter().map(|report| report.failures().count()).sum::<usize>() + broken.len();
    let filtered: usize = reports.iter().map(|report| report.filtered).sum();
    if json {
        let broken: Vec<_> = broken.iter().map(|(file, error)| json!({ "file": file, "error": error })).collect();
        show::json(&json!({ "passed": passed, "failed": failed, "filtered": filtered, "files": reports, "broken": broken }))?;
    } else {
        let failures: String = reports.iter().map(output::failures).collect();
        if !failures.is_empty() {
            println!("failures:\n\n{}", cleaned(&failures));
        }
        if asked.coverage {
            println!("coverage:\n{}", cleaned(&reports.iter().map(output::coverage).collect::<String>()));
        }
        println!("{}", output::summary(passed, failed, filtered));
        if passed + failed == 0 {
            println!("no expectation's name holds `{}`", show::clean(&asked.name));
        }
    }
    Ok(if failed > 0 || passed + failed == 0 { Exit::Failed } else { Exit::Ok })
}

/// Control characters of each line away, the lines kept.
pub(super) fn cleaned(text: &str) -> String {
    text.lines().map(|line| show::clean(line) + "\n").collect()
}
