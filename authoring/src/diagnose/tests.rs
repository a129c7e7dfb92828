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
#[allow(clippy::disallowed_methods)]
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

#[test]
#[allow(clippy::disallowed_methods)]
fn what_is_shipped_has_no_errors() {
    for folder in ["policies", "labs/classic/policies", "labs/classic/demo"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rhai") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let findings = check_policy(&path.display().to_string(), &text, &PolicyOverride::default(), &Around::default());
            let bad: Vec<Finding> = findings.into_iter().filter(|finding| finding.severity != Severity::Note).collect();
            assert!(bad.is_empty(), "{}", render(&bad, &text, false));
        }
    }
}
