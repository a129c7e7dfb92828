//! Playbooks out of YAML files: the configured folder's, or the shipped ones.
//!
//! Of the shipped playbooks only those are taken whose verbs the configured actuators have and take as they are used there: they are
//! offers. What stands in a folder of your own is meant, so there a verb that nobody has is an error (the kernel says so, with every
//! other problem). Deliberately absent: the checks themselves; the kernel has them, and keeps the old set where something is wrong.

use crate::config::Config;
use anyhow::Context;
use homeostat_kernel::Kernel;
use homeostat_model::playbook::{Playbook, Undo};
use homeostat_model::{ActuatorSpec, RuleSet, StoreSettings, Verb};
use std::collections::BTreeSet;
use std::path::Path;

/// Playbooks of one folder; more are refused.
const PLAYBOOKS_MAX: usize = 200;
/// One playbook's file.
const PLAYBOOK_BYTES_MAX: u64 = 64 << 10;

/// The shipped playbooks: name and YAML.
pub const SHIPPED: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/playbooks.rs"));

/// The playbooks that the configuration names.
///
/// # Errors
/// The folder or a file cannot be read, a limit is reached, or a file is not a playbook.
pub fn playbooks(config: &Config, actuators: &[ActuatorSpec]) -> anyhow::Result<Vec<Playbook>> {
    match &config.playbooks.dir {
        Some(dir) => folder(dir),
        None => {
            Ok(shipped()?.into_iter().filter(|playbook| missing(playbook, actuators).is_empty() && fits(playbook, actuators)).collect())
        }
    }
}

/// All shipped playbooks, whatever is configured.
///
/// # Errors
/// A shipped file is not a playbook; a test sees to it that this does not happen.
pub fn shipped() -> anyhow::Result<Vec<Playbook>> {
    SHIPPED.iter().map(|(name, text)| parse(name, text).with_context(|| format!("the shipped playbook {name}.yaml"))).collect()
}

/// The verbs that a playbook needs and no configured actuator has.
pub fn missing(playbook: &Playbook, actuators: &[ActuatorSpec]) -> BTreeSet<Verb> {
    let known: BTreeSet<&Verb> = actuators.iter().flat_map(|spec| &spec.verbs).map(|spec| &spec.verb).collect();
    let undo = |undo: &Undo| if let Undo::By(by) = undo { Some(by.verb.clone()) } else { None };
    let needed = playbook.steps.iter().flat_map(|step| step.verb.clone().into_iter().chain(undo(&step.undo)));
    needed.filter(|verb| !known.contains(verb)).collect()
}

/// Why a playbook cannot be loaded beside these actuators: every problem.
pub fn misfits(playbook: &Playbook, actuators: &[ActuatorSpec]) -> Vec<String> {
    let rules = RuleSet { actuators: actuators.to_vec(), playbooks: vec![playbook.clone()], ..RuleSet::default() };
    Kernel::new(StoreSettings::default()).check(&rules).err().unwrap_or_default()
}

/// An offer that the configuration does not allow (fewer replicas, longer times, a command with arguments of its own) must not keep
/// the daemon from its rules.
fn fits(playbook: &Playbook, actuators: &[ActuatorSpec]) -> bool {
    let misfits = misfits(playbook, actuators);
    if !misfits.is_empty() {
        tracing::warn!(playbook = %playbook.id, problems = %misfits.join("; "), "A shipped playbook does not fit the actuators and is not offered.");
    }
    misfits.is_empty()
}

fn folder(dir: &Path) -> anyhow::Result<Vec<Playbook>> {
    let unreadable = || format!("the playbook folder {} cannot be read", dir.display());
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .with_context(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| path.as_ref().map_or(true, |path| is_playbook(path)))
        .collect::<std::io::Result<_>>()
        .with_context(unreadable)?;
    paths.sort();
    let count = paths.len();
    anyhow::ensure!(
        count <= PLAYBOOKS_MAX,
        "the playbook folder {} holds {count} playbooks, at most {PLAYBOOKS_MAX} are allowed",
        dir.display()
    );
    paths.iter().map(|path| read(path)).collect()
}

fn is_playbook(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.contains(".test.")
}

/// One playbook's file.
///
/// # Errors
/// It cannot be read, is too large, or is not a playbook.
pub fn read(path: &Path) -> anyhow::Result<Playbook> {
    let size = std::fs::metadata(path).map_or(0, |data| data.len());
    anyhow::ensure!(
        size <= PLAYBOOK_BYTES_MAX,
        "the playbook {} has {size} bytes, at most {PLAYBOOK_BYTES_MAX} are allowed",
        path.display()
    );
    let text = std::fs::read_to_string(path).with_context(|| format!("the playbook {} cannot be read", path.display()))?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    parse(name, &text).with_context(|| format!("the playbook {}", path.display()))
}

fn parse(name: &str, text: &str) -> anyhow::Result<Playbook> {
    let options = serde_saphyr::options! { strict_booleans: true, duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error };
    let mut playbook: Playbook = serde_saphyr::from_str_with_options(text, options).map_err(|error| anyhow::anyhow!("{error}"))?;
    anyhow::ensure!(
        playbook.id.is_empty() || playbook.id == name,
        "it calls itself `{}`, but the file is called `{name}`: leave `id` out",
        playbook.id
    );
    name.clone_into(&mut playbook.id);
    Ok(playbook)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_playbook_reads_and_none_is_taken_without_its_verbs() {
        let shipped = shipped().unwrap();
        assert!(shipped.iter().all(|playbook| !playbook.steps.is_empty()));
        let needy = shipped.iter().filter(|playbook| !missing(playbook, &[]).is_empty()).count();
        assert_eq!(needy, shipped.len(), "a playbook that needs no verb at all does nothing");
    }

    /// Actuators as people configure them, with everything that the shipped playbooks need.
    const ACTUATORS: &str = r#"{
        "exec": { "commands": {
            "evacuate": { "doc": "Moves data.", "argv": ["/bin/evacuate", "{target_name}"], "class": "reversible", "timeout": "10m", "settle": "10m" },
            "disk-cleanup": { "doc": "Frees.", "argv": ["/bin/cleanup", "{target_name}"], "class": "reversible", "timeout": "10m", "settle": "5m" },
            "renew-certificate": { "doc": "Renews.", "argv": ["/bin/renew", "{target_name}"], "class": "reversible", "timeout": "10m" } } },
        "power": { "nodes": { "muscle": {
            "mac": "00:11:22:33:44:55", "probe": { "tcp": "muscle.lan:22" },
            "sleep": { "via": "ssh", "key_file": "/etc/homeostat/sleep" }, "reboot": { "via": "ssh", "key_file": "/etc/homeostat/reboot" },
            "ssh": { "host": "muscle.lan", "user": "homeostat", "known_hosts": "/etc/homeostat/known" } } } },
        "kubernetes": {
            "connect": { "by": "server", "url": "https://kube.lan:6443", "token": "x" }, "namespaces": ["home"],
            "scale": { "min_replicas": 0 }, "restart": {}, "node": {}, "pod": {}, "velero": {},
            "chaos": { "namespaces": ["home"], "experiments": { "late": { "doc": "Late packets.", "kind": "NetworkChaos", "namespace": "home",
                "spec": { "action": "delay", "mode": "one", "selector": { "namespaces": ["home"] }, "delay": { "latency": "200ms" } } } } } },
        "argo": { "via": { "by": "rest", "url": "https://argocd.lan", "token": "x" } },
        "restic": { "repository": "/srv/restic", "password": "x", "scratch": "/var/lib/scratch", "backups": { "photos": { "paths": ["/srv"] } } }
    }"#;

    fn specs(change: impl FnOnce(&mut serde_json::Value)) -> Vec<ActuatorSpec> {
        let mut value: serde_json::Value = serde_json::from_str(ACTUATORS).unwrap();
        change(&mut value);
        let config = serde_json::from_value(value).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let built = homeostat_actuators::build(&config, dir.path(), "j1").unwrap_or_else(|faults| panic!("{faults:#?}"));
        built.iter().map(|actuator| actuator.spec()).collect()
    }

    #[test]
    fn every_shipped_playbook_fits_the_real_actuators() {
        let specs = specs(|_| {});
        for playbook in shipped().unwrap() {
            assert_eq!(missing(&playbook, &specs), BTreeSet::new(), "{}", playbook.id);
            assert_eq!(misfits(&playbook, &specs), Vec::<String>::new(), "{}", playbook.id);
        }
    }

    #[test]
    fn an_offer_that_the_configuration_does_not_allow_is_left_out_and_the_others_stay() {
        let specs = specs(|config| config["kubernetes"]["scale"]["min_replicas"] = 1.into());
        let offered = playbooks(&Config::default(), &specs).unwrap();
        assert!(offered.iter().all(|playbook| playbook.id != "nas-maintenance"), "nothing may be scaled to 0");
        assert_eq!(offered.len(), SHIPPED.len() - 1);
    }

    #[test]
    fn the_simulation_ships_the_same_playbooks() {
        assert_eq!(homeostat_sim::shipped::PLAYBOOKS, SHIPPED);
        for playbook in shipped().unwrap() {
            assert_eq!(homeostat_sim::shipped::playbook(&playbook.id).unwrap(), playbook);
        }
    }

    #[test]
    fn a_broken_file_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("good.yaml", "doc: Good.\nsteps:\n  - { id: a, verb: notify.send }\n");
        write("good.test.yaml", "not a playbook");
        assert_eq!(folder(dir.path()).unwrap().iter().map(|p| p.verb().to_string()).collect::<Vec<_>>(), ["playbook.good"]);
        write("bad.yaml", "doc: Bad.\nsteps:\n  - { id: a, vreb: notify.send }\n");
        let error = format!("{:#}", folder(dir.path()).unwrap_err());
        assert!(error.contains("bad.yaml") && error.contains("vreb"), "{error}");
        write("bad.yaml", "id: other\ndoc: x\nsteps: []\n");
        assert!(format!("{:#}", folder(dir.path()).unwrap_err()).contains("leave `id` out"));
        assert!(format!("{:#}", folder(&dir.path().join("none")).unwrap_err()).contains("playbook folder"));
    }
}
