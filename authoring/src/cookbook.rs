//! The cookbook keeps its promises: each of its policies with its test, by the production kernel, and the page names them all.

use crate::suite::{Options, run_file};
use homeostat_model::{ActuatorSpec, ArgKind, ArgSpec, Class, Span, VerbSpec};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// What the policies act by: as the actuators and the shipped playbooks of these names take it.
fn actuators() -> Vec<ActuatorSpec> {
    let text = |name: &str| ArgSpec {
        name: name.into(),
        kind: ArgKind::Text(1000),
        required: !["text", "idle_for"].contains(&name),
        doc: String::new(),
    };
    let replicas = ArgSpec { name: "replicas".into(), kind: ArgKind::Int(1, 20), required: true, doc: String::new() };
    let verbs = [
        ("notify.send", Class::Notify, "", vec![text("title"), text("text")]),
        ("power.wake", Class::Restore, "node", Vec::new()),
        ("restart.rollout", Class::Reversible, "deployment", Vec::new()),
        ("scale.up", Class::Restore, "deployment", vec![replicas.clone()]),
        ("scale.down", Class::Reversible, "deployment", vec![replicas]),
        ("playbook.node-sleep", Class::Reversible, "node", vec![text("idle_for")]),
        ("playbook.disk-evacuation", Class::Reversible, "disk", vec![text("data")]),
        ("playbook.disk-cleanup", Class::Reversible, "filesystem", vec![text("node"), text("mountpoint")]),
        ("playbook.certificate-renewal", Class::Reversible, "certificate", vec![text("expiry")]),
    ];
    let spec = |(verb, class, kind, args): (&str, Class, &str, Vec<ArgSpec>)| ActuatorSpec {
        id: verb.into(),
        verbs: vec![VerbSpec {
            verb: verb.into(),
            class,
            args,
            target_kinds: if kind.is_empty() { Vec::new() } else { vec![kind.into()] },
            targets: None,
            opposite: None,
            settle: Span::ZERO,
            timeout: Span::from_secs(30),
            revertible: false,
            cost: Default::default(),
            doc: String::new(),
        }],
    };
    verbs.into_iter().map(spec).collect()
}

fn names(ending: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(docs().join("cookbook")).expect("the cookbook is there");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

#[test]
fn every_policy_of_the_cookbook_keeps_its_promises() {
    let actuators = actuators();
    let (policies, tests) = (names(".rhai"), names(".test.yaml"));
    assert_eq!((policies.len(), &policies), (12, &tests));
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let run = || {
            for name in &tests {
                let file = docs().join("cookbook").join(format!("{name}.test.yaml"));
                match run_file(&file, &Options::with(&actuators)) {
                    Ok(report) => {
                        let quiet = report.results.iter().filter(|checked| checked.expectation.contains("quiet")).count();
                        assert!(quiet > 0 && quiet < report.results.len(), "{name} tells when it fires and when not");
                        failures
                            .extend(report.failures().map(|(checked, failure)| format!("{name} {}: {failure:?}", report.name_of(checked))));
                    }
                    Err(error) => failures.push(error.to_string()),
                }
            }
        };
        let builder = std::thread::Builder::new().stack_size(homeostat_kernel::STACK_BYTES_MIN);
        builder.spawn_scoped(scope, run).expect("a thread starts").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Each policy has a section with its paragraph, and no section is about nothing.
#[test]
fn the_page_of_the_cookbook_tells_of_each_policy() {
    let page = std::fs::read_to_string(docs().join("cookbook.md")).expect("the page is there");
    let told: BTreeSet<String> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(told, names(".rhai"));
    for name in told {
        for link in [format!("(cookbook/{name}.rhai)"), format!("(cookbook/{name}.test.yaml)")] {
            assert!(page.contains(&link), "{link} is missing");
        }
    }
}
