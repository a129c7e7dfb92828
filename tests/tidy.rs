//! The borders that the design draws, checked on the sources: who may import whom, how long things may get, what must stand where.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lines of a file, tests aside.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 100;
/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[
    ("engine/kernel/src/policy/api.rs", "one list of functions; the order is the manual's"),
    ("actuators/src/conformance.rs", "tests: one suite for all actuators, each with its far end"),
];
/// The only files outside the plugs and their tests that may call `.apply(`, each with its reason.
const APPLIERS: &[(&str, &str)] = &[
    ("src/dispatch.rs", "the one place that sends"),
    ("src/readiness.rs", "a wrapper that is an actuator itself: it hands through what it was given, and marks it"),
    ("src/virtual_time.rs", "a stand-in without a world: it sees no actuator"),
];

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
        ("homeostat-reasoners", &["homeostat-model"]),
        ("homeostat-channels", &["homeostat-model"]),
        ("homeostat-mcp", &["homeostat-model"]),
        ("homeostat-sim", &["homeostat-model", "homeostat-kernel"]),
        ("homeostat-authoring", &["homeostat-model", "homeostat-kernel", "homeostat-sim"]),
        ("homeostat-kube-face", &["homeostat-model"]),
        ("homeostat-faces", &["homeostat-model", "homeostat-sim", "homeostat-kube-face"]),
        (
            "homeostat",
            &[
                "homeostat-model",
                "homeostat-kernel",
                "homeostat-sensors",
                "homeostat-actuators",
                "homeostat-reasoners",
                "homeostat-channels",
                "homeostat-mcp",
                "homeostat-authoring",
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

/// Where answers of people are taken. Nothing that thinks, and nothing that a model can call, may reach it.
const APPROVERS: [&str; 3] = ["homeostat_channels", "crate::approvals", "Command::Approve"];
/// What thinks, or is called by what thinks.
const THINKERS: [&str; 7] =
    ["reasoners/", "mcp/", "engine/kernel/src/reason", "src/reasoning", "src/cli/mcp", "src/http/agents", "src/http/proposing"];

#[test]
fn no_reasoner_reaches_an_approval() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().expect("cargo metadata runs");
    let users = metadata.packages.iter().filter(|package| package.dependencies.iter().any(|d| d.name == "homeostat-channels"));
    let users: Vec<&str> = users.map(|package| package.name.as_str()).collect();
    assert!(users.iter().all(|name| *name == "homeostat"), "only the daemon may use `homeostat-channels`, and {users:?} do");
    let thinkers: Vec<(String, String)> =
        sources().into_iter().filter(|(path, _)| !is_test(path) && THINKERS.iter().any(|known| path.starts_with(known))).collect();
    assert!(thinkers.iter().any(|(path, _)| path == "reasoners/src/chain.rs"), "the sources were found");
    let reaching: Vec<&String> =
        thinkers.iter().filter(|(_, text)| APPROVERS.iter().any(|word| without_tests(text).contains(word))).map(|(path, _)| path).collect();
    assert!(reaching.is_empty(), "these think, and name one of {APPROVERS:?}: {reaching:?}");
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

/// Lessons of `docs/safety.md`.
const LESSONS: usize = 36;

/// One row of the table of lessons.
struct Lesson {
    number: usize,
    places: Vec<String>,
    tests: Vec<String>,
    state: String,
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the table of lessons; a row that does not read is an error.
fn lessons(text: &str) -> Result<Vec<Lesson>, String> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    let read = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, failure, rule, places, tests, state] = cells[..] else {
            return Err(format!("{} cells, expected 6: {line}", cells.len()));
        };
        let number = number.parse().map_err(|_| format!("`{number}` is no lesson's number: {line}"))?;
        if [failure, rule, places, tests, state].iter().any(|cell| cell.is_empty()) {
            return Err(format!("lesson {number} has an empty cell"));
        }
        Ok(Lesson { number, places: quoted(places), tests: quoted(tests), state: state.to_owned() })
    };
    rows.map(read).collect()
}

/// What the table of lessons names and the tree does not have; `sources` are paths with their texts.
fn missing(lessons: &[Lesson], sources: &[(String, String)], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let is_a_test = |name: &str| {
        let opening = format!("fn {name}(");
        sources.iter().any(|(_, text)| {
            let mut before = "";
            text.lines().any(|line| {
                let found = line.contains(&opening) && before.trim_start().starts_with("#[") && before.contains("test");
                before = line;
                found
            })
        })
    };
    for lesson in lessons {
        if lesson.tests.is_empty() {
            problems.push(format!("lesson {} names no test", lesson.number));
        }
        for name in &lesson.tests {
            let there = if name.ends_with(".yaml") { exists(&format!("tests/scenarios/{name}")) } else { is_a_test(name) };
            if !there {
                problems.push(format!("lesson {} names the test `{name}`, which is not there", lesson.number));
            }
        }
        for place in lesson.places.iter().filter(|place| place.contains('/')) {
            if !exists(place) {
                problems.push(format!("lesson {} names the file `{place}`, which is not there", lesson.number));
            }
        }
    }
    problems
}

/// The guards' names, read out of the arbiter's list.
fn guards(sources: &[(String, String)]) -> Vec<String> {
    let path = "engine/kernel/src/arbiter/guards/mod.rs";
    let (_, text) = sources.iter().find(|(known, _)| known == path).expect("the guards' list is there");
    text.lines().filter_map(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)).collect()
}

#[test]
fn every_lesson_has_its_guard_and_its_tests() {
    let text = std::fs::read_to_string(root().join("docs/safety.md")).expect("docs/safety.md can be read");
    let lessons = lessons(&text).unwrap_or_else(|problem| panic!("docs/safety.md: {problem}"));
    let numbers: Vec<usize> = lessons.iter().map(|lesson| lesson.number).collect();
    assert_eq!(numbers, (1..=LESSONS).collect::<Vec<_>>(), "every lesson once, in order");
    let sources = sources();
    let problems = missing(&lessons, &sources, |path| root().join(path).exists());
    assert!(problems.is_empty(), "docs/safety.md: {problems:#?}");
    let guards = guards(&sources);
    assert!(guards.len() >= 19 && guards.iter().any(|guard| guard == "autonomy"), "the guards were found: {guards:?}");
    let unnamed: Vec<&String> = guards.iter().filter(|guard| !lessons.iter().any(|lesson| lesson.places.contains(guard))).collect();
    assert!(unnamed.is_empty(), "these guards stand in no row of docs/safety.md: {unnamed:?}");
    let vague: Vec<usize> =
        lessons.iter().filter(|lesson| !STATES.iter().any(|state| lesson.state.starts_with(state))).map(|l| l.number).collect();
    assert!(vague.is_empty(), "the state of these lessons begins with none of {STATES:?}: {vague:?}");
}

/// How a lesson's state may begin.
const STATES: [&str; 3] = ["met", "in part: ", "waits for "];

/// A lesson that a scenario names stands in that scenario's row, and a test that bears a lesson's number in that lesson's row.
#[test]
fn what_bears_a_lessons_number_stands_in_its_row() {
    let text = std::fs::read_to_string(root().join("docs/safety.md")).expect("docs/safety.md can be read");
    let lessons = lessons(&text).unwrap_or_else(|problem| panic!("docs/safety.md: {problem}"));
    let mut numbered: Vec<(usize, String)> = Vec::new();
    for (_, text) in sources() {
        let names = text.split("fn lesson_").skip(1).filter_map(|rest| rest.split_once('(').map(|(name, _)| name));
        let names = names.filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        numbered.extend(names.filter_map(|name| Some((name.get(..2)?.parse().ok()?, format!("lesson_{name}")))));
    }
    let mut scenarios = Vec::new();
    walk(&root().join("tests/scenarios"), ".yaml", &mut scenarios);
    for path in &scenarios {
        let text = std::fs::read_to_string(path).expect("a scenario can be read");
        let number = text.lines().find_map(|line| line.strip_prefix("lesson: ")?.trim().parse().ok());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        numbered.extend(number.map(|number| (number, name)));
    }
    assert!(numbered.len() > 40, "tests and scenarios with numbers were found: {}", numbered.len());
    let absent = |(number, name): &&(usize, String)| !lessons.iter().any(|lesson| lesson.number == *number && lesson.tests.contains(name));
    let absent: Vec<&(usize, String)> = numbered.iter().filter(absent).collect();
    assert!(absent.is_empty(), "these stand in no row of docs/safety.md: {absent:#?}");
}

#[test]
fn the_table_of_lessons_is_really_read() {
    let sources = [("a.rs".to_owned(), "#[test]\nfn there() {}\n\nfn helper() {}\n".to_owned())];
    let row = |tests: &str| format!("| # | failure |\n|---|---|\n| 1 | a | b | `lock`, `src/a.rs` | {tests} | met |\n");
    let problems = |tests: &str| missing(&lessons(&row(tests)).expect("a row"), &sources, |path| path == "src/a.rs");
    assert!(problems("`there`").is_empty());
    for wrong in ["`gone`", "`helper`", "`01-gone.yaml`", "there"] {
        assert_eq!(problems(wrong).len(), 1, "{wrong}");
    }
    assert!(lessons("| 1 | a | b |\n").is_err() && lessons("| one | a | b | c | d | e |\n").is_err());
    assert!(lessons("| 1 | a | b | c | | e |\n").is_err());
}
