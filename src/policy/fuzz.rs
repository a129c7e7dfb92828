//! `homeostat policy fuzz`: which policy is searched, and what is told of it.
//!
//! The work is done in `homeostat_authoring::fuzz`. An editor breaks this by ending with success where a breach was found, or by
//! writing a test that passes before the policy is better.

use crate::cli::place::Place;
use crate::cli::{Ended, Exit, configured, show, with_big_stack};
use crate::{doctor, rules};
use anyhow::{Context, anyhow, bail, ensure};
use homeostat_authoring::fuzz::{self, Bench, Bounds, Found, Outcome, Property, Search, write};
use homeostat_authoring::suite;
use homeostat_model::{ActuatorSpec, PolicySource, Span};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What is searched for, and how long.
#[derive(clap::Args, Debug)]
pub struct FuzzArgs {
    /// The policy's file
    policy: PathBuf,
    /// What must not happen: `flap` (to and fro on one target), `floor` (the last ones of a kind taken down), `stale` (acting on what
    /// nobody sees any more), `fault` (the script fails), or `all`
    #[arg(long, default_value = "all")]
    property: String,
    /// The same seed gives the same answer
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much of the plant's time one try lasts
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    lasts: Span,
    /// The time between two reads of a sensor
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    interval: Span,
    /// Tries for each property
    #[arg(long, default_value_t = 200)]
    tries: usize,
    /// More turns than this on one target within an hour are flapping
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// The bare policy: only its own cooldown and settling time hold it, no guard does
    #[arg(long)]
    without_guards: bool,
    /// Write the shortest find as a test into this file, or a test for each property into this folder
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// A policy by its file, with what the configuration changes in a policy of that name.
pub(super) fn source(path: &Path, configured: &[PolicySource]) -> anyhow::Result<PolicySource> {
    let text = std::fs::read_to_string(path).with_context(|| format!("the policy {} cannot be read", path.display()))?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let name = name.with_context(|| format!("{} is no file of a policy", path.display()))?;
    let overrides = configured.iter().find(|known| known.id.as_str() == name).map(|known| known.overrides.clone()).unwrap_or_default();
    Ok(PolicySource { id: name.as_str().into(), path: path.display().to_string(), text, overrides })
}

/// Searches, tells, and writes.
pub(super) fn fuzz(place: Place, args: &FuzzArgs, json: bool) -> Ended {
    let (config, _) = configured(place)?;
    let specs = doctor::actuator_specs(&config).map_err(|problems| anyhow!(problems.join("\n")))?;
    let loaded = rules::rule_set_on(&config, specs.clone(), Vec::new())?;
    let policy = source(&args.policy, &loaded.policies)?;
    let bench =
        Bench { policy, actuators: specs.clone(), playbooks: loaded.playbooks, arbiter: loaded.arbiter, guards: !args.without_guards };
    let search = Search {
        properties: properties(&args.property)?,
        seed: args.seed,
        lasts: args.lasts,
        interval: args.interval,
        tries: args.tries,
        bounds: Bounds { turns_per_hour_max: args.turns, ..Bounds::default() },
        ..Search::default()
    };
    ensure!(
        args.write.is_none() || search.properties.len() == 1 || args.write.as_ref().is_some_and(|path| path.is_dir()),
        "several properties make several tests: give `--write` a folder, or choose one with `--property`"
    );
    let outcome = fuzz::search(&bench, &search)?;
    let mut written = Vec::new();
    for found in &outcome.found {
        let test = write::test_yaml(&bench.policy, found, args.seed);
        fails_now(&bench.policy, &specs, &test)?;
        if let Some(path) = &args.write {
            let path = if path.is_dir() { path.join(write::file_name(&bench.policy, found)) } else { path.clone() };
            std::fs::write(&path, &test).with_context(|| format!("the test {} cannot be written", path.display()))?;
            written.push(path);
        }
    }
    tell(&bench, args, &outcome, &written, json)?;
    Ok(if outcome.found.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn properties(text: &str) -> anyhow::Result<Vec<Property>> {
    if text == "all" {
        return Ok(Property::ALL.to_vec());
    }
    match Property::ALL.into_iter().find(|property| property.name() == text) {
        Some(property) => Ok(vec![property]),
        None => bail!("there is no property `{text}` (there are: all, {})", Property::ALL.map(Property::name).join(", ")),
    }
}

/// A test that is handed out must fail with the policy as it is.
fn fails_now(policy: &PolicySource, specs: &[ActuatorSpec], test: &str) -> anyhow::Result<()> {
    let parsed = suite::parse("found.test.yaml", test).map_err(|errors| anyhow!("the test that was written cannot be read: {errors:?}"))?;
    let report = with_big_stack(|| suite::run_test("found.test.yaml", &parsed, policy, &suite::Options::with(specs)))??;
    ensure!(report.failures().count() > 0, "what was found does not show in a test of its own; this is a mistake in the search:\n{test}");
    Ok(())
}

fn tell(bench: &Bench, args: &FuzzArgs, outcome: &Outcome, written: &[PathBuf], json: bool) -> anyhow::Result<()> {
    if json {
        let found: Vec<_> = outcome.found.iter().map(|found| write::view(&bench.policy, found, args.seed)).collect();
        return show::json(&json!({
            "policy": bench.policy.id, "seed": args.seed, "guards": bench.guards, "tries": outcome.tries, "plants": outcome.plants,
            "acted": outcome.acted, "found": found, "notes": outcome.notes, "written": written,
        }));
    }
    for note in &outcome.notes {
        println!("note: {}", show::clean(note));
    }
    for found in &outcome.found {
        print_found(bench, args, found);
    }
    for path in written {
        println!("written: {}", path.display());
    }
    let guards = if bench.guards { "with the guards" } else { "without the guards" };
    let tries = format!(
        "{} tries {guards} (seed {}), {} on a plant, something was sent in {}",
        outcome.tries, args.seed, outcome.plants, outcome.acted
    );
    match outcome.found.len() {
        0 => println!(
            "nothing found in {tries}; that is no proof{}",
            if bench.guards { ". What the policy does by itself: --without-guards" } else { "" }
        ),
        many => println!("{many} found in {tries}"),
    }
    Ok(())
}

fn print_found(bench: &Bench, args: &FuzzArgs, found: &Found) {
    println!("{}: {}", found.breach.property.name().to_uppercase(), show::clean(&found.breach.text));
    if let Some(plant) = &found.plant {
        println!("  on this plant: {}", show::clean(&fuzz::plant_words(plant, found.trace.interval)));
    }
    println!();
    write::test_yaml(&bench.policy, found, args.seed).lines().for_each(|line| println!("    {}", show::clean(line)));
    println!();
}
