//! `homeostat policy new`: where the two files go. What stands in them is `homeostat_authoring::starter`.
//!
//! An editor breaks this by writing over what somebody has written.

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show};
use anyhow::{Context, anyhow, ensure};
use clap::{Args, ValueEnum};
use homeostat_authoring::starter::{Template, starter};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What kind of policy.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A value stays above a number
    Threshold,
    /// A value reaches a level soon, by its trend
    Trend,
    /// An alert of Alertmanager or Grafana is passed on
    Alert,
    /// Nothing is heard any more
    Absent,
}

/// What is asked for.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Its name: small letters, digits and `-`
    name: String,
    /// The metric, with labels if only some of its series are meant: `room_celsius{room="bath"}`; for an alert its name
    #[arg(long, short)]
    metric: Option<String>,
    /// What kind of policy
    #[arg(long, short, value_enum, default_value = "threshold")]
    template: Kind,
    /// The folder [default: the configured policy folder, ./policies]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// `homeostat policy new`
pub(super) fn new(place: Place, args: &NewArgs, json: bool) -> Ended {
    let template = match args.template {
        Kind::Threshold => Template::Threshold,
        Kind::Trend => Template::Trend,
        Kind::Alert => Template::Alert,
        Kind::Absent => Template::Absent,
    };
    let starter = starter(&args.name, template, args.metric.as_deref()).map_err(|error| anyhow!(error))?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => configured(place)?.0.policies.dir.unwrap_or_else(|| "policies".into()),
    };
    let (policy, test) = (dir.join(format!("{}.rhai", args.name)), dir.join(format!("{}.test.yaml", args.name)));
    for path in [&policy, &test] {
        ensure!(!path.exists(), "{} is there already: choose another name, or move it away", path.display());
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
    written(&policy, &starter.policy)?;
    written(&test, &starter.test)?;
    if json {
        show::json(&json!({ "policy": policy, "test": test }))?;
    } else {
        println!("{}\n{}\n\nEdit the numbers, then:", policy.display(), test.display());
        println!("  homeostat policy check {0}\n  homeostat policy test {0}", policy.display());
    }
    Ok(Exit::Ok)
}

fn written(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("{} cannot be written", path.display()))
}
