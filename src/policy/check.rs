//! `homeostat policy check`: which policies and test files are looked at, against what, and how the findings are shown.
//!
//! The work is done in `homeostat_authoring::diagnose`. An editor breaks this by ending with success where an error was found: the
//! exit status is what a build server looks at.

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show, with_big_stack};
use crate::client::Client;
use crate::{doctor, rules};
use anyhow::{Context, anyhow, ensure};
use clap::Args;
use homeostat_authoring::diagnose::{Around, Finding, Severity, check_policy, of_errors, render};
use homeostat_authoring::suite;
use homeostat_model::{PolicyOverride, PolicySource};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What is asked for.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Policies, `*.test.yaml` files, or folders of them [default: the configured policies and the tests beside them]
    paths: Vec<PathBuf>,
    /// A file with the names of the metrics that there are, one per line or as an exporter shows them [default: those of the running
    /// daemon]
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// What else counts as an error
    #[arg(long, value_name = "WHAT", value_parser = ["warnings"])]
    deny: Option<String>,
}

/// One file that is looked at.
struct Looked {
    path: String,
    text: String,
    overrides: PolicyOverride,
}

/// `homeostat policy check`
pub(super) async fn check(place: Place, args: &CheckArgs, json: bool) -> Ended {
    let live = match &args.metrics {
        Some(file) => Some(listed(file)?),
        None => delivered(&place).await,
    };
    let (config, _) = configured(place)?;
    let specs = doctor::actuator_specs(&config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let loaded = rules::rule_set_on(&config, specs.clone(), Vec::new())?;
    let files = match args.paths.as_slice() {
        [] => own(&loaded.policies)?,
        paths => given(paths, &loaded.policies)?,
    };
    ensure!(!files.is_empty(), "there is no policy to look at; name files or folders");
    let around = Around {
        actuators: specs,
        playbooks: loaded.playbooks.iter().map(|playbook| playbook.id.clone()).collect(),
        live,
        retention: loaded.store.retention,
    };
    let found = with_big_stack(|| files.iter().map(|file| look(file, &around)).collect::<Vec<_>>())?;
    let all = || found.iter().flatten();
    let count = |severity: Severity| all().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    if json {
        let findings: Vec<&Finding> = all().collect();
        show::json(&json!({ "files": files.len(), "errors": errors, "warnings": warnings, "notes": notes, "findings": findings }))?;
    } else {
        let colour = std::io::stdout().is_terminal();
        for (file, findings) in files.iter().zip(&found) {
            print!("{}", cleaned(&render(findings, &file.text, colour), colour));
        }
        let counted = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        let (files, errors) = (counted(files.len(), "file"), counted(errors, "error"));
        println!("{files} checked: {errors}, {}, {}", counted(warnings, "warning"), counted(notes, "note"));
    }
    let denied = errors > 0 || (args.deny.is_some() && warnings > 0);
    Ok(if denied { Exit::Failed } else { Exit::Ok })
}

fn look(file: &Looked, around: &Around) -> Vec<Finding> {
    if file.path.ends_with(".rhai") {
        return check_policy(&file.path, &file.text, &file.overrides, around);
    }
    suite::parse(&file.path, &file.text).err().map_or_else(Vec::new, |errors| of_errors(&errors, &file.text))
}

/// Without what a file could do to a terminal; our own colours stay.
fn cleaned(text: &str, colour: bool) -> String {
    if colour { text.to_owned() } else { text.lines().map(|line| show::clean(line) + "\n").collect() }
}

/// The configured policies, and the tests beside them.
fn own(policies: &[PolicySource]) -> anyhow::Result<Vec<Looked>> {
    let mut files = Vec::new();
    for policy in policies {
        files.push(Looked { path: policy.path.clone(), text: policy.text.clone(), overrides: policy.overrides.clone() });
        let test = Path::new(&policy.path).with_extension("test.yaml");
        if test.is_file() {
            files.push(read(&test, policies)?);
        }
    }
    Ok(files)
}

/// Files as given, and what stands in given folders.
fn given(paths: &[PathBuf], policies: &[PolicySource]) -> anyhow::Result<Vec<Looked>> {
    super::files(paths, &[".rhai", ".test.yaml"])?.iter().map(|path| read(path, policies)).collect()
}

/// A file, with what the configuration changes in the policy of this name.
fn read(path: &Path, policies: &[PolicySource]) -> anyhow::Result<Looked> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let id = path.file_stem().unwrap_or_default().to_string_lossy();
    let overrides = policies.iter().find(|policy| policy.id.as_str() == id).map(|policy| policy.overrides.clone());
    Ok(Looked { path: path.display().to_string(), text, overrides: overrides.unwrap_or_default() })
}

/// The metric of a line: of an exporter's, a series, or a bare name.
fn metric(line: &str) -> Option<String> {
    let name: String = line.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')).collect();
    (!name.is_empty()).then_some(name)
}

pub(super) fn listed(file: &Path) -> anyhow::Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(text.lines().filter(|line| !line.starts_with('#')).filter_map(metric).collect())
}

/// The metrics that the running daemon's store has, where one runs and has read something.
pub(super) async fn delivered(place: &Place) -> Option<BTreeSet<String>> {
    let names: Value = Client::new(&place.socket).get("/api/v1/label/__name__/values").await.ok()?;
    let names: BTreeSet<String> = names.get("data")?.as_array()?.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_from_names_series_and_exporters() {
        assert_eq!(metric("node_up").as_deref(), Some("node_up"));
        assert_eq!(metric("job:x:rate5m{node=\"a\"} 3 17").as_deref(), Some("job:x:rate5m"));
        assert_eq!(metric("  "), None);
    }
}
