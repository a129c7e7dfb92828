//! The rule set out of configuration and policy files, and its reload when these change.
//!
//! Without a policy folder the shipped policies are used; they are part of the binary. What is broken is loaded all the same: the
//! kernel refuses it with its reasons and keeps what it had, so that the refusal is in the journal.

use crate::cli::with_big_stack;
use crate::config::{Config, Outside};
use crate::own_base;
use anyhow::Context;
use homeostat_authoring::twin::SUFFIX;
use homeostat_kernel::Kernel;
use homeostat_model::rules::OwnBase;
use homeostat_model::{ActuatorSpec, Autonomy, PolicyId, PolicyOverride, PolicySource, RuleSet};
use std::collections::BTreeMap;
use std::path::Path;

/// Policies of one folder; more are refused.
const POLICIES_MAX: usize = 1_000;
/// One policy's file.
const POLICY_BYTES_MAX: u64 = 64 << 10;

/// The shipped policies.
pub const SHIPPED: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The policies that the configuration names.
///
/// # Errors
/// The folder or a file cannot be read, or a limit is reached.
pub fn policies(config: &Config) -> anyhow::Result<Vec<PolicySource>> {
    let overrides = config.policies.overrides();
    let mut sources = match &config.policies.dir {
        None => SHIPPED.iter().map(|(name, text)| source(name, &format!("shipped:{name}.rhai"), text, &overrides)).collect(),
        Some(dir) => folder(dir, &overrides)?,
    };
    if let Some(dir) = &config.policies.candidates {
        let candidates = candidates(dir, &overrides, &sources)?;
        sources.extend(candidates);
    }
    let unknown: Vec<&str> =
        overrides.keys().map(PolicyId::as_str).filter(|name| !sources.iter().any(|s: &PolicySource| s.id.as_str() == *name)).collect();
    anyhow::ensure!(unknown.is_empty(), "the configuration changes policies that do not exist: {}", unknown.join(", "));
    Ok(sources)
}

/// The policies that run beside live ones and never act. One that is broken, or has no live one to run beside, is left out with a
/// warning: a rule set with a broken policy is refused as a whole, and what never acts must not keep out what does.
fn candidates(dir: &Path, overrides: &BTreeMap<PolicyId, PolicyOverride>, live: &[PolicySource]) -> anyhow::Result<Vec<PolicySource>> {
    let mut sound = Vec::new();
    for mut candidate in folder(dir, overrides)? {
        let path = candidate.path.clone();
        let Some(twin) = live.iter().find(|policy| policy.id == candidate.id) else {
            let names = live.iter().map(|policy| policy.id.as_str()).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                "The candidate {path} is left out: there is no policy `{}` to run beside (there are: {names}). To try a new policy, put it among the others with `autonomy: \"shadow\"`.",
                candidate.id
            );
            continue;
        };
        candidate.overrides = PolicyOverride { autonomy: Some(Autonomy::Shadow), ..twin.overrides.clone() };
        candidate.id = PolicyId::from(format!("{}{SUFFIX}", candidate.id).as_str());
        let alone = RuleSet { policies: vec![candidate], ..RuleSet::default() };
        let checked = with_big_stack(|| Kernel::new(alone.store.clone()).check(&alone).map(drop))?;
        match checked {
            Ok(()) => sound.extend(alone.policies),
            Err(problems) => tracing::warn!("The candidate {path} is left out: it is broken.\n{}", problems.join("\n")),
        }
    }
    Ok(sound)
}

fn folder(dir: &Path, overrides: &BTreeMap<PolicyId, PolicyOverride>) -> anyhow::Result<Vec<PolicySource>> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .with_context(|| format!("the policy folder {} cannot be read", dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| path.as_ref().map_or(true, |path| path.extension().is_some_and(|e| e == "rhai")))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("the policy folder {} cannot be read", dir.display()))?;
    paths.sort();
    anyhow::ensure!(
        paths.len() <= POLICIES_MAX,
        "the policy folder {} holds {} policies, at most {POLICIES_MAX} are allowed",
        dir.display(),
        paths.len()
    );
    let mut sources = Vec::new();
    for path in paths {
        let size = std::fs::metadata(&path).map_or(0, |data| data.len());
        anyhow::ensure!(size <= POLICY_BYTES_MAX, "the policy {} has {size} bytes, at most {POLICY_BYTES_MAX} are allowed", path.display());
        let text = std::fs::read_to_string(&path).with_context(|| format!("the policy {} cannot be read", path.display()))?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        sources.push(source(&name, &path.display().to_string(), &text, overrides));
    }
    Ok(sources)
}

fn source(name: &str, path: &str, text: &str, overrides: &BTreeMap<PolicyId, PolicyOverride>) -> PolicySource {
    PolicySource {
        id: PolicyId::from(name),
        path: path.to_owned(),
        text: text.to_owned(),
        overrides: overrides.get(name).cloned().unwrap_or_default(),
    }
}

/// The whole rule set.
///
/// # Errors
/// As [`policies`].
pub fn rule_set(config: &Config, actuators: Vec<ActuatorSpec>, servers: &[(String, String)], data: &Path) -> anyhow::Result<RuleSet> {
    rule_set_on(config, actuators, own_base::find(servers, data))
}

/// The whole rule set, with this own base beside the configuration's.
///
/// # Errors
/// As [`policies`].
pub fn rule_set_on(config: &Config, actuators: Vec<ActuatorSpec>, own_base: Vec<OwnBase>) -> anyhow::Result<RuleSet> {
    let mut arbiter = config.arbiter.settings();
    for base in own_base {
        if !arbiter.own_base.iter().any(|known| known.target == base.target) {
            arbiter.own_base.push(base);
        }
    }
    let playbooks = crate::playbooks::playbooks(config, &actuators)?;
    Ok(RuleSet {
        policies: policies(config)?,
        actuators,
        arbiter,
        topology: config.topology.settings(),
        store: config.store.settings(),
        playbooks,
        reasoning: config.reasoning.settings(),
    })
}

/// Reads the configuration and the policies again.
///
/// # Errors
/// The configuration is broken, or as [`policies`].
pub fn reread(path: Option<&Path>, actuators: Vec<ActuatorSpec>, servers: &[(String, String)], data: &Path) -> anyhow::Result<RuleSet> {
    let config = Config::load(path, &Outside::real())?;
    rule_set(&config, actuators, servers, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What never acts must not keep out what does: the kernel refuses a rule set with a broken policy as a whole.
    #[test]
    fn a_candidate_that_is_broken_or_alone_is_left_out_and_a_sound_one_only_watches() {
        let folder = tempfile::tempdir().expect("a folder");
        let (live, beside) = (folder.path().join("live"), folder.path().join("beside"));
        let sound = r#"fn policy() { #{ for_each: series("a"), autonomy: "auto" } } fn evaluate(s) {}"#;
        for (dir, name, text) in [
            (&live, "one", sound),
            (&live, "two", sound),
            (&beside, "one", sound),
            (&beside, "two", "fn policy( {"),
            (&beside, "three", sound),
        ] {
            std::fs::create_dir_all(dir).expect("a folder");
            std::fs::write(dir.join(format!("{name}.rhai")), text).expect("written");
        }
        let mut config = Config::default();
        (config.policies.dir, config.policies.candidates) = (Some(live), Some(beside));
        let loaded = policies(&config).expect("the sound ones are loaded");
        let names: Vec<&str> = loaded.iter().map(|policy| policy.id.as_str()).collect();
        assert_eq!(names, ["one", "two", "one.candidate"]);
        assert_eq!(loaded[2].overrides.autonomy, Some(Autonomy::Shadow));
        assert_eq!(loaded[0].overrides.autonomy, None);
    }
}
