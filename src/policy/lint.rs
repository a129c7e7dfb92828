//! `homeostat policy lint`: which policies are looked at together, and how what was found is shown.
//!
//! The work is done in `homeostat_authoring::graph`. An editor breaks this by ending with success where an error was found: the exit
//! status is what a build server looks at.

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show};
use crate::{doctor, rules};
use anyhow::{Context, anyhow, ensure};
use homeostat_authoring::diagnose::{Severity, render};
use homeostat_authoring::graph::draw::{Format, draw};
use homeostat_authoring::graph::{Declared, Loops, Sources, analyse};
use homeostat_model::PolicySource;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Which policies, and how it is shown.
#[derive(clap::Args, Debug)]
pub struct LintArgs {
    /// Policies, or folders of them [default: all that would be loaded]
    files: Vec<PathBuf>,
    /// Draw what reads, wishes and moves what: `dot`, `mermaid` or `svg`; what was found goes to stderr
    #[arg(long, value_name = "FORM")]
    graph: Option<Format>,
    /// A file that says what verbs do beside the shipped ones: `http.clean: { filesystem_avail_ratio: raises }`
    #[arg(long, value_name = "FILE")]
    effects: Option<PathBuf>,
    /// A file with the names of the metrics that there are, one per line or as an exporter shows them [default: those of the running
    /// daemon]
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// What else counts as an error
    #[arg(long, value_name = "WHAT", value_parser = ["warnings"])]
    deny: Option<String>,
}

/// Looks at policies together.
pub(super) async fn lint(place: Place, args: &LintArgs, json: bool) -> Ended {
    let metrics = match &args.metrics {
        Some(file) => Some(super::check::listed(file)?),
        None => super::check::delivered(&place).await,
    };
    let (config, _) = configured(place)?;
    let specs = doctor::actuator_specs(&config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let loaded = rules::rule_set_on(&config, specs.clone(), Vec::new())?;
    let policies = if args.files.is_empty() { loaded.policies } else { given(&args.files, &loaded.policies)? };
    ensure!(!policies.is_empty(), "there is no policy to look at; name files or folders");
    let declared = match &args.effects {
        Some(path) => effects(path)?,
        None => Declared::new(),
    };
    let sources = Sources { policies, actuators: specs, playbooks: loaded.playbooks, declared, metrics };
    let loops = analyse(&sources);
    if json {
        let edges: Vec<_> = loops.edges().into_iter().map(|(from, edge, to)| json!({ "from": from, "edge": edge, "to": to })).collect();
        let graph = args.graph.map(|format| draw(&loops, format));
        show::json(&json!({ "policies": sources.policies.len(), "findings": loops.findings, "edges": edges, "graph": graph }))?;
    } else if let Some(format) = args.graph {
        // The picture alone is the answer; what was found goes beside it.
        print!("{}", draw(&loops, format));
        eprint!("{}", told(&sources.policies, &loops, std::io::stderr().is_terminal()));
    } else {
        print!("{}", told(&sources.policies, &loops, std::io::stdout().is_terminal()));
    }
    let denied = args.deny.is_some() && loops.findings.iter().any(|finding| finding.severity == Severity::Warning);
    Ok(if loops.is_wrong() || denied { Exit::Failed } else { Exit::Ok })
}

/// Files as given, and the policies of given folders.
fn given(paths: &[PathBuf], configured: &[PolicySource]) -> anyhow::Result<Vec<PolicySource>> {
    super::files(paths, &[".rhai"])?.iter().map(|path| super::fuzz::source(path, configured)).collect()
}

fn effects(path: &Path) -> anyhow::Result<Declared> {
    let text = std::fs::read_to_string(path).with_context(|| format!("the effects {} cannot be read", path.display()))?;
    let options = serde_saphyr::options! { strict_booleans: true, duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn told(policies: &[PolicySource], loops: &Loops, colour: bool) -> String {
    let mut by_path: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for finding in &loops.findings {
        by_path.entry(&finding.path).or_default().push(finding.clone());
    }
    let mut text = String::new();
    for (path, findings) in by_path {
        let script = policies.iter().find(|policy| policy.path == path).map_or("", |policy| &policy.text);
        text.push_str(&render(&findings, script, colour));
    }
    let count = |severity| loops.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    text.push_str(&format!("{} policies, {errors} errors, {warnings} warnings\n", policies.len()));
    text
}
