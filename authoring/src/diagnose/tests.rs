//! Forty broken policies and test files under `tests/diagnostics`, each with what is said about it, word by word.
//!
//! `HOMEOSTAT_BLESS=1` writes down what is said now.

use super::*;
use homeostat_model::{ArgKind, ArgSpec, Class, Cost};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn arg(name: &str, kind: ArgKind, required: bool, doc: &str) -> ArgSpec {
    ArgSpec { name: name.into(), kind, required, doc: doc.into() }
}

fn verb(name: &str, class: Class, kinds: &[&str], args: Vec<ArgSpec>) -> homeostat_model::VerbSpec {
    homeostat_model::VerbSpec {
        verb: name.into(),
        class,
        args,
        target_kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        targets: None,
        opposite: None,
        settle: Span::from_mins(1),
        timeout: Span::from_mins(1),
        revertible: false,
        cost: Cost::default(),
        doc: "for tests".into(),
    }
}

/// A small lab's powers.
fn around() -> Around {
    let priority = ["default", "high", "urgent"].map(str::to_owned).to_vec();
    let verbs = vec![
        verb(
            "notify.send",
            Class::Notify,
            &[],
            vec![
                arg("title", ArgKind::Text(200), true, "the first line"),
                arg("text", ArgKind::Text(2000), false, "the rest"),
                arg("priority", ArgKind::OneOf(priority), false, "how loud"),
            ],
        ),
        verb("power.wake", Class::Restore, &["node"], vec![]),
        verb("power.off", Class::Disruptive, &["node"], vec![]),
        verb(
            "exec.disk-cleanup",
            Class::Reversible,
            &["node", "filesystem"],
            vec![arg("keep", ArgKind::Int(1, 30), true, "how many backups stay"), arg("mountpoint", ArgKind::Text(100), false, "where")],
        ),
    ];
    let lab = ActuatorSpec { id: "lab".into(), verbs };
    Around { actuators: vec![lab], playbooks: vec!["node-sleep".into()], ..Around::default() }
}

/// What the engine and the YAML reader say in their own words.
const FOREIGN: [&str; 16] = [
    "Function not found",
    "Syntax error",
    "Variable not found",
    "Expecting",
    "Unexpected",
    "Data type incorrect",
    "Script terminated",
    "Property not found",
    "ImmutableString",
    "Dynamic",
    "i64",
    "f64",
    "unknown field",
    "missing field",
    "invalid type",
    "expected struct",
];

fn findings_of(path: &Path, text: &str) -> Vec<Finding> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    if name.ends_with(".rhai") {
        return check_policy(&name, text, &PolicyOverride::default(), &around());
    }
    crate::suite::parse(&name, text).err().map_or_else(Vec::new, |errors| of_errors(&errors, text))
}

#[test]
fn forty_broken_files_are_explained() {
    let folder = root().join("tests/diagnostics");
    let bless = std::env::var_os("HOMEOSTAT_BLESS").is_some();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut seen, mut codes, mut wrong) = (0, BTreeSet::new(), Vec::new());
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension != "expected")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let findings = findings_of(path, &text);
        assert!(!findings.is_empty(), "nothing is found in {name}");
        for finding in &findings {
            let said = format!("{} {:?} {:?}", finding.message, finding.expected, finding.help);
            assert!(finding.line > 0 || finding.code == "no-policy" || finding.code == "nothing-runs", "{name}: {said} has no place");
            assert!(finding.expected.is_some() || finding.help.is_some(), "{name}: {said}: neither expected nor help");
            for foreign in FOREIGN {
                assert!(!said.contains(foreign), "{name}: {said} holds `{foreign}`");
            }
            assert!(CODES.iter().any(|(code, _)| *code == finding.code), "{name}: `{}` is not in the list of codes", finding.code);
            codes.insert(finding.code);
        }
        let shown = render(&findings, &text, false);
        let stem = name.trim_end_matches(".rhai").trim_end_matches(".test.yaml").to_owned();
        let golden = folder.join(format!("{stem}.expected"));
        if bless {
            std::fs::write(&golden, &shown).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != shown {
            wrong.push(format!("{name} says now:\n{shown}"));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 40, "{seen} files");
    println!("{seen} files, {} kinds of findings: {codes:?}", codes.len());
}

/// `docs/policy-check.md` is what [`reference`] says; `HOMEOSTAT_BLESS=1` writes it anew.
#[test]
fn the_page_of_codes_is_up_to_date() {
    let path = root().join("docs/policy-check.md");
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap_or_default() == reference(), "docs/policy-check.md is out of date: HOMEOSTAT_BLESS=1");
}

/// With the powers that the lab really has.
#[test]
fn what_is_shipped_has_neither_errors_nor_warnings() {
    let lab = homeostat_sim::shipped::classic().expect("the shipped lab fits together");
    let acting = Around { actuators: homeostat_sim::run::actuators(&lab, false), ..Around::default() };
    let mut seen = 0;
    for (folder, around) in [("policies", Around::default()), ("labs/classic/policies", acting), ("labs/classic/demo", Around::default())] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rhai") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let findings = check_policy(&path.display().to_string(), &text, &PolicyOverride::default(), &around);
            let bad: Vec<Finding> = findings.into_iter().filter(|finding| finding.severity != Severity::Note).collect();
            assert!(bad.is_empty(), "{}", render(&bad, &text, false));
            seen += 1;
        }
    }
    assert!(seen >= 27, "{seen} policies");
}

#[test]
fn metrics_are_compared_with_what_is_delivered() {
    let text = "fn policy() { #{ for_each: series(\"node_up\") } }\nfn evaluate(up) {\n let load = series(\"node_laod1\").last();\n \
                let lost = all(\"service_up\");\n if load > 3 && lost.len() > 0 && up.last() == 1 { propose(notify(\"x\")).because(\"y\"); }\n}";
    let found = |live: Option<&[&str]>| {
        let live = live.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let findings = check_policy("t.rhai", text, &PolicyOverride::default(), &Around { live, ..Around::default() });
        findings
            .into_iter()
            .map(|finding| (finding.code, finding.severity, finding.line, finding.help.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(None), [], "a name that is not in the vocabulary may be a raw one");
    let delivered = found(Some(&["node_up", "node_load1"]));
    let told: Vec<(&str, Severity, usize)> = delivered.iter().map(|(code, severity, line, _)| (*code, *severity, *line)).collect();
    assert_eq!(told, [("unknown-metric", Severity::Warning, 3), ("not-delivered", Severity::Note, 4)]);
    assert_eq!(delivered[0].3, "did you mean `node_load1`?");
}

#[test]
fn what_the_configuration_changes_is_what_is_checked() {
    let text = "fn policy() { #{ for_each: series(\"node_cpu_busy_ratio\"), params: #{ high: 0.9, over: \"1h\" } } }\n\
                fn evaluate(busy) {\n if busy.over(param(\"over\")).avg() > param(\"high\") { propose(notify(\"x\")).because(\"y\"); }\n}";
    let codes = |params: &[(&str, homeostat_model::Arg)]| {
        let params = params.iter().map(|(name, arg)| ((*name).to_owned(), arg.clone())).collect();
        let overrides = PolicyOverride { params, ..PolicyOverride::default() };
        check_policy("t.rhai", text, &overrides, &Around::default()).into_iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    use homeostat_model::Arg;
    assert_eq!(codes(&[]), Vec::<&str>::new());
    assert_eq!(codes(&[("high", Arg::Float(90.0)), ("over", Arg::Text("7d".into()))]), ["window-too-long", "wrong-unit"]);
    assert_eq!(codes(&[("hihg", Arg::Float(0.8))]), ["unknown-param"]);
}
