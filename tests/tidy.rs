//! The borders that the design draws, checked on the sources: who may import whom, how long things may get, what must stand where.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lines of a file, tests aside.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 100;
/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[("engine/kernel/src/policy/api.rs", "one list of functions; the order is the manual's")];
/// The only files outside the plugs and their tests that may call `.apply(`, each with its reason.
const APPLIERS: &[(&str, &str)] =
    &[("src/dispatch.rs", "the one place that sends"), ("src/virtual_time.rs", "a stand-in without a world: it sees no actuator")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target" && name != ".git") {
                walk(&path, ending, found);
            }
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    walk(root(), ".rs", &mut files);
    assert!(files.len() > 50, "the sources were found");
    let named = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a source can be read");
        (path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned(), text)
    };
    files.into_iter().map(named).collect()
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/benches/")
        || path.starts_with("benches/")
}

/// The source without its `#[cfg(test)]` modules, which stand last.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

#[test]
fn crates_import_in_one_direction() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().expect("cargo metadata runs");
    let allowed: &[(&str, &[&str])] = &[
        ("homeostat-model", &[]),
        ("homeostat-kernel", &["homeostat-model"]),
        ("homeostat-sensors", &["homeostat-model"]),
        ("homeostat-actuators", &["homeostat-model"]),
        ("homeostat-sim", &["homeostat-model", "homeostat-kernel"]),
        ("homeostat-kube-face", &["homeostat-model"]),
        ("homeostat-faces", &["homeostat-model", "homeostat-sim", "homeostat-kube-face"]),
        (
            "homeostat",
            &[
                "homeostat-model",
                "homeostat-kernel",
                "homeostat-sensors",
                "homeostat-actuators",
                "homeostat-sim",
                "homeostat-kube-face",
                "homeostat-faces",
            ],
        ),
    ];
    let foreign = ["tokio", "reqwest", "hyper", "axum", "kube", "rusqlite", "chrono", "jiff", "rand"];
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some((_, may)) = allowed.iter().find(|(known, _)| *known == name) else {
            panic!("the crate `{name}` stands in no border: add it here")
        };
        let used: BTreeSet<&str> =
            package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development).map(|d| d.name.as_str()).collect();
        let wrong: Vec<&&str> = used.iter().filter(|other| other.starts_with("homeostat") && !may.contains(other)).collect();
        assert!(wrong.is_empty(), "`{name}` imports {wrong:?}, it may import {may:?}");
        if matches!(name, "homeostat-model" | "homeostat-kernel") {
            let wrong: Vec<&&str> = used.iter().filter(|other| foreign.contains(other)).collect();
            assert!(wrong.is_empty(), "`{name}` imports {wrong:?}: no IO, no clock, no chance below engine/");
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> =
        sources().into_iter().filter(|(path, text)| !is_test(path) && !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "these do not open with `//!`: {silent:#?}");
}

#[test]
fn every_policy_has_a_test() {
    let mut policies = Vec::new();
    walk(&root().join("policies"), ".rhai", &mut policies);
    assert!(!policies.is_empty(), "the policies were found");
    let shipped = policies.len();
    let mut labs: Vec<PathBuf> =
        std::fs::read_dir(root().join("labs")).expect("the labs are there").filter_map(|lab| lab.ok().map(|lab| lab.path())).collect();
    labs.sort();
    labs.iter().for_each(|lab| walk(&lab.join("policies"), ".rhai", &mut policies));
    assert!(policies.len() > shipped, "the labs' policies were found");
    let untested: Vec<&PathBuf> = policies.iter().filter(|path| !path.with_extension("test.yaml").exists()).collect();
    assert!(untested.is_empty(), "no *.test.yaml beside {untested:?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path) && !LONG_FILES.iter().any(|(known, _)| known == path))
        .filter_map(|(path, text)| {
            let lines = without_tests(&text).lines().count();
            (lines > FILE_LINES_MAX).then(|| format!("{path}: {lines} lines"))
        })
        .collect();
    assert!(long.is_empty(), "longer than {FILE_LINES_MAX} lines without a reason: {long:#?}");
}

/// Relies on rustfmt: a function opens with `fn` at some depth of blanks and ends with a brace at the same depth.
fn long_functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let opens = |line: &str| {
        let line = line.trim_start();
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        !line.starts_with("//")
            && words.iter().take_while(|word| word.starts_with("pub") || ["const", "async", "unsafe", "in"].contains(word)).count()
                < words.len()
            && words.iter().find(|word| !(word.starts_with("pub") || ["const", "async"].contains(word))).is_some_and(|word| *word == "fn")
    };
    let mut long = Vec::new();
    for (first, line) in lines.iter().enumerate().filter(|(_, line)| opens(line)) {
        if line.trim_end().ends_with(['}', ';']) {
            continue;
        }
        let end = lines[first..].iter().position(|other| depth(other) == depth(line) && (*other).trim() == "}");
        let declared = lines[first..].iter().position(|other| depth(other) == depth(line) && other.trim_end().ends_with(';'));
        match end {
            Some(len) if declared.is_none_or(|declared| declared > len) && len + 1 > FUNCTION_LINES_MAX => long.push((first + 1, len + 1)),
            _ => {}
        }
    }
    long
}

#[test]
fn functions_fit_a_screen_or_two() {
    let long: Vec<String> = sources()
        .into_iter()
        .flat_map(|(path, text)| long_functions(&text).into_iter().map(move |(line, len)| format!("{path}:{line}: {len} lines")))
        .collect();
    assert!(long.is_empty(), "functions longer than {FUNCTION_LINES_MAX} lines: {long:#?}");
    let body = "    let x = 1;\n".repeat(120);
    assert_eq!(long_functions(&format!("pub fn long() {{\n{body}}}\nfn short();\n")), [(1, 122)], "the measure can find one");
}

#[test]
fn only_the_dispatcher_applies() {
    let callers: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| path.starts_with("src/") && !is_test(path) && without_tests(text).contains(".apply("))
        .map(|(path, _)| path)
        .collect();
    assert!(
        callers.iter().all(|path| APPLIERS.iter().any(|(known, _)| known == path)),
        "an actuator may be applied in {APPLIERS:?} only, found in {callers:?}"
    );
}
