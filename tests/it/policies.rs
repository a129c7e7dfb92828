//! Every shipped policy keeps its promises: each `policies/*.test.yaml`, and each of a lab, is run through the production kernel.

use homeostat_authoring::suite::{Options, run_file};
use homeostat_model::{ActuatorSpec, ArgKind, ArgSpec, Class, Span, VerbSpec};
use std::path::{Path, PathBuf};

/// What the notifier accepts; the shipped policies do nothing else.
fn notifier() -> ActuatorSpec {
    let arg = |name: &str, kind, required| ArgSpec { name: name.into(), kind, required, doc: String::new() };
    let priorities = ["min", "low", "default", "high", "urgent"].map(str::to_owned).to_vec();
    let verb = VerbSpec {
        verb: "notify.send".into(),
        class: Class::Notify,
        args: vec![
            arg("title", ArgKind::Text(250), true),
            arg("text", ArgKind::Text(4000), false),
            arg("priority", ArgKind::OneOf(priorities), false),
        ],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_secs(30),
        revertible: false,
        cost: Default::default(),
        doc: String::new(),
    };
    ActuatorSpec { id: "notify".into(), verbs: vec![verb] }
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).expect("the policies' folder is there");
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.display().to_string().ends_with(ending))
        .collect();
    files.sort();
    files
}

fn on_a_big_stack(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(homeostat_kernel::STACK_BYTES_MIN);
        builder.spawn_scoped(scope, test).expect("a thread starts").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Runs every test in a folder; at least `least` must be there.
fn keeps_its_promises(folder: &str, least: usize, actuators: &[ActuatorSpec]) {
    let mut failures = Vec::new();
    let tests = files(folder, ".test.yaml");
    assert!(tests.len() >= least, "the tests were found: {tests:?}");
    for file in tests {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match run_file(&file, &Options::with(actuators)) {
            Ok(report) => {
                assert!(report.results.len() > 1, "{name} expects something");
                failures.extend(report.failures().map(|(checked, failure)| format!("{name} {}: {failure:?}", report.name_of(checked))));
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_shipped_policy_keeps_its_promises() {
    on_a_big_stack(|| keeps_its_promises("policies", 10, &[notifier()]));
}

/// The lab's own policies act; they are held to the verbs that the lab file knows.
#[test]
fn every_policy_of_the_classic_lab_keeps_its_promises() {
    on_a_big_stack(|| {
        let lab = homeostat_sim::shipped::classic().expect("the shipped lab fits together");
        keeps_its_promises("labs/classic/policies", 9, &homeostat_sim::run::actuators(&lab, false));
    });
}

/// The runner can fail: an expectation turned around must be reported.
#[test]
fn a_wrong_expectation_is_reported() {
    on_a_big_stack(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        std::fs::copy(policies.join("high-cpu.rhai"), folder.path().join("high-cpu.rhai")).expect("the policy is copied");
        let file = folder.path().join("high-cpu.test.yaml");
        let test = |expect: &str| {
            format!(
                "policy: high-cpu\ninterval: 1m\nseries:\n  - {{ series: 'node_cpu_busy_ratio{{node=\"a\"}}', values: 0.95x30 }}\nexpect:\n  - {expect}\n"
            )
        };
        for (expect, failures) in [
            ("{ at: 20m, quiet: wrong }", 1),
            ("{ at: 20m, undetermined: true }", 1),
            ("{ at: 2m, proposes: { verb: notify.send } }", 1),
            ("{ at: 20m, proposes: { verb: notify.send, because: nonsense } }", 1),
            ("{ at: 20m, proposes: { verb: power.wake } }", 1),
            ("{ at: 20m, proposes: { verb: notify.send } }", 0),
        ] {
            std::fs::write(&file, test(expect)).expect("the test is written");
            let report = run_file(&file, &Options::with(&[notifier()])).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(report.failures().count(), failures, "{expect}: {report:?}");
        }
        std::fs::write(&file, test("{ at: 1m, quite: typo }")).expect("the test is written");
        assert!(run_file(&file, &Options::with(&[notifier()])).is_err());
    });
}

/// What the story's policies act by: a verb's name, what it acts on, and its arguments.
fn of_the_story() -> Vec<ActuatorSpec> {
    let text = |name: &str| ArgSpec { name: name.into(), kind: ArgKind::Text(1000), required: true, doc: String::new() };
    let replicas = ArgSpec { name: "replicas".into(), kind: ArgKind::Int(1, 20), required: true, doc: String::new() };
    let request = || vec![text("name"), text("namespace")];
    let verbs = [
        ("pod.delete", "pod", Vec::new()),
        ("restart.rollout", "deployment", Vec::new()),
        ("scale.up", "deployment", vec![replicas.clone()]),
        ("scale.down", "deployment", vec![replicas]),
        ("power.reboot", "node", Vec::new()),
        ("playbook.node-sleep", "node", Vec::new()),
        ("playbook.wake-for-work", "node", Vec::new()),
        ("kratix.apply", "promise", [request(), vec![text("spec")]].concat()),
        ("kratix.delete", "promise", request()),
    ];
    let spec = |(verb, kind, args): (&str, &str, Vec<ArgSpec>)| {
        let mut actuator = notifier();
        let plain = actuator.verbs.remove(0);
        actuator.id = verb.split('.').next().unwrap_or_default().into();
        actuator.verbs = vec![VerbSpec { verb: verb.into(), class: Class::Reversible, args, target_kinds: vec![kind.into()], ..plain }];
        actuator
    };
    verbs.into_iter().map(spec).collect()
}

#[test]
fn every_policy_of_the_story_keeps_its_promises() {
    on_a_big_stack(|| keeps_its_promises("labs/classic/demo", 8, &of_the_story()));
}
