//! The tests' tests: files that are right, files that are wrong, and what people are told of both.

use super::*;
use homeostat_model::{Class, PolicyId, Span, VerbSpec};

/// Fires below 10 for four minutes; says so by a verb of class notify, with a cooldown of ten minutes.
const COLD: &str = r#"
fn policy() { #{ for_each: series("room_celsius"), every: "1m", cooldown: "10m", autonomy: "auto", params: #{ low: 10.0 } } }
fn evaluate(room) {
    if room.label("kind") == "cellar" { return; }
    if room.held_below(param("low"), "4m") {
        propose(act("test.heat", `node/${room.label("room")}`, #{ degrees: 5 })).because(`${room.label("room")} has ${room.last()}`)
            .claim(room.above(12).within("5m"));
    }
}
"#;

fn heater(class: Class) -> ActuatorSpec {
    let verb = VerbSpec {
        verb: "test.heat".into(),
        class,
        args: vec![homeostat_model::ArgSpec {
            name: "degrees".into(),
            kind: homeostat_model::ArgKind::Int(0, 10),
            required: true,
            doc: String::new(),
        }],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout: Span::from_secs(30),
        revertible: false,
        cost: Default::default(),
        doc: String::new(),
    };
    ActuatorSpec { id: "test".into(), verbs: vec![verb] }
}

fn source(text: &str) -> PolicySource {
    PolicySource { id: PolicyId::from("cold"), path: "cold.rhai".into(), text: text.into(), overrides: PolicyOverride::default() }
}

fn run(text: &str, filter: &str) -> Report {
    let test = parse("cold.test.yaml", text).unwrap_or_else(|errors| panic!("{}", Unrunnable::Wrong(errors)));
    let options = Options { filter: filter.into(), ..Options::with(&[heater(Class::Notify)]) };
    run_test("cold.test.yaml", &test, &source(COLD), &options).unwrap_or_else(|error| panic!("{error}"))
}

fn errors(text: &str) -> Vec<String> {
    let wrong = parse("cold.test.yaml", text).err().unwrap_or_default();
    wrong.iter().map(|error| format!("{}:{} {}", error.line, error.column, error.message)).collect()
}

const GOOD: &str = r#"policy: cold
interval: 1m
series:
  - series: room_celsius{room="bath"}
    values: 15x3 12-1x5 7x20
  - series: room_celsius{room="hall"}
    values: 15x3 _x30
tests:
  - name: gets cold
    expect:
      - { at: 3m, quiet: { because: 'held below 10 for 4m .*< 10 false by 5' } }
      - { at: 9m, series: 'room_celsius{room="bath"}', quiet: { because: 'false by 0' } }
      - at: 11m
        proposes: { verb: test.heat, target: node/bath, because: '^bath has 7$', claim: 'above 12|> 12', args: { degrees: '^5$' }, ruled: admitted }
      - { at: 14m, target: bath, quiet: { held_by: cooldown, because: '10m' } }
      - { at: 9m, series: 'room_celsius{room="hall"}', undetermined: { because: held below } }
  - name: a cellar may be cold
    series:
      - series: room_celsius{kind="cellar",room="c"}
        values: 1x30
    expect:
      - { at: 20m, series: 'room_celsius{room="c",kind="cellar"}', quiet: true }
  - name: colder is allowed
    params: { low: 5.0 }
    expect:
      - { at: 20m, target: bath, quiet: all is well }
  - name: hands off
    commands:
      - { at: 5m, pause: holidays }
    expect:
      - { at: 11m, target: bath, quiet: { held_by: hands_off } }
"#;

#[test]
fn a_file_of_several_tests_runs() {
    let report = run(GOOD, "");
    assert_eq!((report.results.len(), report.passed()), (8, 8), "{}", output::failures(&report));
    assert_eq!(report.results[1].expectation, "at 9m room_celsius{room=\"bath\"}: quiet because `false by 0`");
    let one = run(GOOD, "cellar may");
    assert_eq!((one.results.len(), one.filtered), (1, 7));
}

#[test]
fn the_old_form_is_one_test() {
    let text = "policy: cold\ninterval: 1m\nseries:\n  - { series: 'room_celsius{room=\"a\"}', values: 9x9 }\nexpect:\n  - { at: 1m, undetermined: true }\n  - { at: 5m, proposes: { verb: test.heat } }\n";
    let report = run(text, "");
    assert_eq!((report.results.len(), report.passed()), (2, 2), "{}", output::failures(&report));
    assert_eq!(report.name_of(&report.results[1]), "cold: at 5m: proposes test.heat");
}

#[test]
fn a_failure_says_what_was_there_instead() {
    let text = "policy: cold\ninterval: 1m\nseries:\n  - { series: 'room_celsius{room=\"a\"}', values: 9x9 }\nexpect:\n  - at: 5m\n    proposes: { verb: test.heat, because: 'is <cold>' }\n  - { at: 5m, quiet: warm }\n  - { at: 5m, target: b, quiet: warm }\n  - { at: 5m, quiet: { held_by: budget } }\n";
    let report = run(text, "");
    assert_eq!(report.passed(), 0);
    let told = output::failures(&report);
    for part in [
        "  --> cold.test.yaml:6:5",
        "expected test.heat on anything because `is <cold>`",
        "found    wished: test.heat on node/a because `a has 9` claim",
        "is admitted",
        "expected quiet (warm)",
        "room_celsius{room=\"a\"}: fired",
        "held below 10 for 4m of room_celsius{room=\"a\"} = 1  (< 10 true by 1)",
        "expected a target whose name holds `b`\nfound    no target",
        "expected a wish that `budget` holds\nfound    room_celsius",
    ] {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
    assert!(output::lines(&report).ends_with("test cold: at 5m: held by budget ... FAILED\n"), "{}", output::lines(&report));
    let xml = output::junit(&[report], &[("x.test.yaml".into(), "no & policy".into())]);
    assert!(xml.contains("<testsuites name=\"homeostat policy test\" tests=\"5\" failures=\"4\" errors=\"1\">"), "{xml}");
    assert!(xml.contains("<failure message=\"expected test.heat on anything because `is &lt;cold&gt;`\">found "), "{xml}");
    assert!(xml.contains("<error message=\"cannot be run\">no &amp; policy</error>"), "{xml}");
    assert_eq!(output::summary(1, 2, 3), "test result: FAILED. 1 passed; 2 failed; 3 filtered out");
}

#[test]
fn questions_are_answered_by_people() {
    let text = |order: &str, ruled: &str| {
        format!(
            "policy: cold\ninterval: 1m\nseries:\n  - {{ series: 'room_celsius{{room=\"a\"}}', values: 9x9 }}\n\
             commands:\n  - {{ at: 6m, {order} }}\nexpect:\n  - {{ at: 5m, proposes: {{ verb: test.heat, ruled: awaiting_approval }} }}\n\
             \x20 - {{ at: 6m, proposes: {{ verb: test.heat, ruled: {ruled} }} }}\n"
        )
    };
    let suggest = COLD.replace("\"auto\"", "\"suggest\"");
    let run = |yaml: &str| {
        let test = parse("t", yaml).unwrap_or_else(|errors| panic!("{}", Unrunnable::Wrong(errors)));
        run_test("t", &test, &source(&suggest), &Options::with(&[heater(Class::Reversible)]))
    };
    let report = run(&text("approve: test.heat on node/a", "admitted")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.passed(), 2, "{}", output::failures(&report));
    let wrong = run(&text("approve: nothing", "admitted")).map(|_| ()).unwrap_err().to_string();
    assert_eq!(wrong, "cold: at 6m: no question is open whose `verb on target` holds `nothing`");
}

#[test]
fn a_missing_sample_is_not_the_end() {
    let room = |values: &str, at: &str, what: &str| {
        let text = format!(
            "policy: cold\ninterval: 1m\nseries:\n  - {{ series: 'room_celsius{{room=\"a\"}}', values: {values} }}\nexpect:\n  - {{ at: {at}, {what} }}\n"
        );
        let report = run(&text, "");
        assert_eq!(report.passed(), 1, "{values}: {}", output::failures(&report));
    };
    // One read is missed: the window still has no hole. The end is one at once.
    room("9x5 _ 9x5", "6m", "proposes: { verb: test.heat }");
    room("9x5 stale _x5", "6m", "undetermined: true");
    room("15x5 NaN 15x5", "6m", "quiet: true");
}

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    let head = "policy: cold\ninterval: 1m\n";
    let one = |rest: &str| errors(&format!("{head}{rest}"));
    assert_eq!(
        one("series:\n  - series: a{b=1}\n    values: 1 2 thre 4\nexpect:\n  - { at: 1m, quiet: x }\n"),
        ["4:13 the value of the label `b` does not stand in quotes", "5:17 `thre` is not a number"]
    );
    assert_eq!(one("expect:\n  - { at: 1m }\n"), ["4:5 expected one of `proposes`, `quiet`, `undetermined` and `fault`"]);
    assert_eq!(one("expect:\n  - { at: 1m, quiet: x, undetermined: true }\n").len(), 1);
    assert_eq!(one(""), ["1:1 the file expects nothing"]);
    assert_eq!(
        one("tests:\n  - { name: a, expect: [{ at: 1m, quiet: x }] }\n  - { name: a, expect: [] }\n"),
        ["5:13 a test needs a name of its own, `a` is none", "5:13 the test `a` expects nothing"]
    );
    let pattern = one("expect:\n  - { at: 1m, quiet: { because: '5 (%' } }\n");
    assert!(pattern[0].starts_with("4:33 `5 (%` is not a pattern: "), "{pattern:?}");
    let key = one("expect:\n  - { at: 1m, quite: x }\n");
    assert!(key.len() == 1 && key[0].starts_with("4:15 ") && key[0].contains("quite"), "{key:?}");
    let span = one("expect:\n  - { at: 1x, quiet: x }\n");
    assert!(span.len() == 1 && span[0].starts_with("4:") && span[0].contains("`1x` is not a duration"), "{span:?}");
    let ruled = one("expect:\n  - { at: 1m, proposes: { verb: a, ruled: allowed } }\n");
    assert_eq!(ruled, ["4:43 `allowed` is no verdict, expected one of: admitted, awaiting_approval, deferred, shadowed, denied"]);
    let order = one("commands:\n  - { at: 1m, pause: a, resume: true }\nexpect:\n  - { at: 1m, quiet: x }\n");
    assert_eq!(order, ["4:5 expected one of `approve`, `deny`, `pause`, `resume` and `unlock`"]);
    assert!(!errors("policy: [").is_empty());
}

/// The notifier's verb, which is all that the shipped policies use.
pub(crate) fn notifier() -> ActuatorSpec {
    let arg = |name: &str, kind, required| homeostat_model::ArgSpec { name: name.into(), kind, required, doc: String::new() };
    let args = vec![
        arg("title", homeostat_model::ArgKind::Text(250), true),
        arg("text", homeostat_model::ArgKind::Text(4000), false),
        arg("priority", homeostat_model::ArgKind::Text(10), false),
    ];
    let mut spec = heater(Class::Notify);
    spec.id = "notify".into();
    spec.verbs[0].verb = "notify.send".into();
    spec.verbs[0].args = args;
    spec
}

#[test]
fn shipped_policies_pass() {
    let lab = homeostat_sim::shipped::classic().expect("the shipped lab fits together");
    let acting = homeostat_sim::run::actuators(&lab, false);
    for (folder, actuators) in [("../policies", vec![notifier()]), ("../labs/classic/policies", acting)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut failed = String::new();
        for file in std::fs::read_dir(folder).expect("the folder is there").filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            if file.display().to_string().ends_with(".test.yaml") {
                match run_file(&file, &Options { coverage: true, ..Options::with(&actuators) }) {
                    Ok(report) => {
                        failed += &output::failures(&report);
                        let coverage = report.coverage.unwrap_or_default();
                        assert!(coverage.percent() > 50.0, "{}", coverage.text(&report.policy));
                    }
                    Err(error) => failed += &error.to_string(),
                }
            }
        }
        assert!(failed.is_empty(), "{failed}");
    }
}

/// Every kind of branch, line by line.
const BRANCHES: &str = r#"
fn policy() { if true { #{ for_each: series("room_celsius"), every: "1m" } } else { #{} } }
fn warm(room) { room.last() > 20 }
fn unused() { 1 }
fn evaluate(room) {
    if room.label("kind") == "cellar" { return; }
    if room.label("kind") == "attic" || (!warm(room) && -room.last() > 0) {
        print("cold");
    } else if warm(room) {
        print("warm");
    }
    let name = switch room.label("room") { "a" => "first", "b" => { "second" }, _ => "other" };
    for x in all("nothing") { print(`${if x.last() > 3 { "a" } else { "b" }}`); }
    try { let u = (); let y = u ?? name; } catch { print("caught"); }
    let z = if name == "first" { 1 } else { 2 };
    while z < 0 { z += 1; } // else
}
"#;

#[test]
fn coverage_is_exact() {
    let text = "policy: cold\ninterval: 1m\nseries:\n  - { series: 'room_celsius{room=\"a\"}', values: 21x9 }\n  - { series: 'room_celsius{kind=\"attic\",room=\"b\"}', values: 21x9 }\nexpect:\n  - { at: 5m, quiet: true }\n";
    let test = parse("t", text).unwrap_or_else(|errors| panic!("{}", Unrunnable::Wrong(errors)));
    let options = Options { coverage: true, ..Options::default() };
    let report = run_test("t", &test, &source(BRANCHES), &options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.passed(), 1, "{}", output::failures(&report));
    let coverage = report.coverage.unwrap_or_default();
    let all: Vec<(usize, BranchKind, bool)> = coverage.branches.iter().map(|branch| (branch.line, branch.kind, branch.taken > 0)).collect();
    use homeostat_kernel::policy::BranchKind::{self, *};
    let expected = [
        (3, Function, true),
        (4, Function, false),
        (5, Function, true),
        (6, Else, true),
        (6, Then, false),
        (7, Right, true),
        (7, Right, false),
        (7, Then, true),
        (9, Else, false),
        (9, Then, true),
        (12, Case, true),
        (12, Case, true),
        (12, Case, false),
        (13, Loop, false),
        (13, Then, false),
        (13, Else, false),
        (14, Right, true),
        (14, Catch, false),
        (15, Then, true),
        (15, Else, true),
        (16, Loop, false),
    ];
    assert_eq!(all, expected, "{}", coverage.text("cold"));
    assert_eq!(coverage.lines_missed(), [4, 6, 7, 9, 12, 13, 14, 16]);
    assert!(
        coverage.text("cold").starts_with("cold: 11 of 21 branches, 52.4 %\n  never reached: line 4, the function is not called\n"),
        "{}",
        coverage.text("cold")
    );
    // A small policy, by hand.
    let report = {
        let test = parse("t", GOOD).unwrap_or_else(|errors| panic!("{}", Unrunnable::Wrong(errors)));
        let options = Options { coverage: true, ..Options::with(&[heater(Class::Notify)]) };
        run_test("t", &test, &source(COLD), &options).unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(report.coverage.map(|coverage| coverage.text("cold")).as_deref(), Some("cold: 5 of 5 branches, 100.0 %\n"));
}

#[test]
fn the_manual_is_right() {
    let page = include_str!("../../../docs/policy-tests.md");
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the page has an example");
    let test = parse("docs/policy-tests.md", example).unwrap_or_else(|errors| panic!("{}", Unrunnable::Wrong(errors)));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/disk-full.rhai");
    let text = std::fs::read_to_string(script).expect("the policy is shipped");
    let source = PolicySource { id: "disk-full".into(), path: "disk-full.rhai".into(), text, overrides: PolicyOverride::default() };
    let report = run_test("docs/policy-tests.md", &test, &source, &Options::with(&[notifier()])).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((report.passed(), report.results.len()), (3, 3), "{}", output::failures(&report));
}
