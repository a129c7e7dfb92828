//! The sandbox: what a script cannot do, whatever it tries, and how its mistakes are shown. Run in debug and in release: the two
//! need different amounts of stack.

use super::host::{Evaluated, Host, Subject, Traits};
use crate::store::Store;
use homeostat_model::{Observation, Origin, PolicyOverride, PolicySource, Sample, SeriesDecl, SeriesKey, Span, StoreSettings, Time};

const NOW: Time = Time(1_700_000_000_000);

fn source(text: &str) -> PolicySource {
    PolicySource { id: "p".into(), path: "policies/p.rhai".into(), text: text.into(), overrides: PolicyOverride::default() }
}

fn host() -> Host {
    let mut store = Store::new(StoreSettings::default());
    let mut observation = Observation::new("s".into(), NOW, Span::from_secs(15));
    observation.declared = vec![SeriesDecl { key: SeriesKey::new("temp", [("node", "a")]), cohort: 0 }];
    observation.samples = vec![Sample { series: 0, value: 42.0 }];
    store.append(&observation, &mut |_| {});
    Host::new(store)
}

fn refused(text: &str) -> String {
    match host().compile(&source(text)) {
        Ok(_) => panic!("this was taken: {text}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

fn run_in(host: &Host, text: &str) -> Evaluated {
    let policy = host.compile(&source(text)).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let traits = Traits { origin: Origin::Policy("p".into()), symptom: "-".into(), target: "policy/p".into() };
    host.evaluate(&policy, &Subject::Once, &traits, NOW).result
}

fn evaluate(body: &str) -> Evaluated {
    run_in(&host(), &format!("fn policy() {{ #{{}} }}\nfn evaluate() {{ {body} }}"))
}

fn fault(body: &str) -> String {
    match evaluate(body) {
        Evaluated::Fault(error) => error,
        other => panic!("`{body}` gave {other:?}, expected a fault"),
    }
}

#[test]
fn there_is_no_clock_no_sleep_and_no_code_from_text() {
    for (body, name) in [("sleep(1)", "sleep"), ("let t = timestamp();", "timestamp"), ("exit()", "exit"), ("let r = rand();", "rand")] {
        let said = refused(&format!("fn policy() {{ #{{}} }}\nfn evaluate() {{ {body} }}"));
        assert!(said.contains(&format!("there is no function `{name}`")) && said.contains("policies/p.rhai:2:"), "{said}");
    }
    let said = refused("fn policy() { #{} }\nfn evaluate() { eval(\"1 + 1\") }");
    assert!(said.contains("eval"), "{said}");
    for path in ["/etc/passwd", "../secret", "other"] {
        let said = refused(&format!("import \"{path}\" as x;\nfn policy() {{ #{{}} }}\nfn evaluate() {{ }}"));
        assert!(said.contains("import"), "{said}");
    }
}

/// The same by a name that is only known at run time: the check at load cannot see it, the missing function can.
#[test]
fn a_name_made_at_run_time_finds_nothing_either() {
    for body in ["Fn(\"sle\" + \"ep\").call(1)", "Fn(\"timest\" + \"amp\").call()", "Fn(\"ev\" + \"al\").call(\"1\")"] {
        let text = format!("fn policy() {{ #{{}} }}\nfn evaluate() {{ {body} }}");
        match host().compile(&source(&text)) {
            Ok(_) => drop(fault(body)),
            Err(errors) => assert!(!errors.is_empty()),
        }
    }
}

#[test]
fn endless_loops_and_deep_recursion_end_as_faults() {
    assert!(fault("loop { }").contains("operations"));
    assert!(fault("let x = 0; while true { x += 1; }").contains("operations"));
    let said = match run_in(&host(), "fn policy() { #{} }\nfn f(n) { f(n + 1) }\nfn evaluate() { f(0) }") {
        Evaluated::Fault(said) => said,
        other => panic!("{other:?}"),
    };
    assert!(said.contains("too deeply"), "{said}");
}

/// Deep recursion within deep expressions is what aborted processes with small stacks: here it must end as a fault.
#[test]
fn recursion_inside_nested_expressions_does_not_overflow_the_stack() {
    let nested = format!("{}f(n + 1){}", "(1 + ".repeat(12), ")".repeat(12));
    match run_in(&host(), &format!("fn policy() {{ #{{}} }}\nfn f(n) {{ {nested} }}\nfn evaluate() {{ f(0) }}")) {
        Evaluated::Fault(said) => assert!(said.contains("too deeply"), "{said}"),
        other => panic!("{other:?}"),
    }
    let deep = format!("fn policy() {{ #{{}} }}\nfn evaluate() {{ let x = {}1{}; }}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(refused(&deep).contains("nested too deeply"));
    let arrays = format!("fn policy() {{ #{{}} }}\nfn evaluate() {{ let x = {}1{}; }}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(refused(&arrays).contains("nested too deeply"));
}

#[test]
fn texts_arrays_and_maps_cannot_grow_without_end() {
    for body in [
        "let s = \"x\"; loop { s += s; }",
        "let a = [1]; loop { a += a; }",
        "let a = []; loop { a.push(1); }",
        "let s = \"x\"; s.pad(1000000000, 'y');",
        "let a = []; a.pad(1000000000, 1);",
        "let m = #{}; let n = 0; loop { m[`k${n}`] = n; n += 1; }",
        "let a = [\"x\"]; loop { a = [a, a]; }",
    ] {
        let said = fault(body);
        assert!(
            said.contains("large")
                || said.contains("operations")
                || said.contains("limit")
                || said.contains("Length")
                || said.contains("Size"),
            "{body}: {said}"
        );
    }
}

#[test]
fn division_by_zero_is_a_fault_for_whole_numbers() {
    let said = fault("let x = 1 / 0;");
    assert!(said.contains("division by zero") && said.contains("--> policies/p.rhai:2:"), "{said}");
    assert!(fault("let x = 9223372036854775807 + 1;").to_lowercase().contains("overflow"));
}

/// Faults speak of series and readings, point into the script, and show the reading that came before; never the engine's own words.
#[test]
fn a_fault_shows_its_place_and_the_reading_that_came_before_it() {
    let said = fault("let t = series(\"temp\"); let hot = t.last();\n let x = [1]; x[hot];");
    assert!(said.contains("--> policies/p.rhai:3:") && said.contains("= reading: last of temp{node=\"a\"}: 42"), "{said}");
    let said = fault("let t = series(\"temp\"); if t.last() > 1 { t.over(5); }");
    assert!(said.contains("`over` was given a series, a number, which it does not take"), "{said}");
    assert!(said.contains("= help: it is called as in `s.over(\"5m\")`") && said.contains(": 42"), "{said}");
    assert!(refused("fn policy() { #{} }\nfn evaluate() { for i in 3 { } }").contains("this is a number, expected an array"));
    let bodies = [
        "let x = [1]; x[3]",
        "let x = 1; x.y",
        "let n = 3; for i in n { }",
        "throw \"no\"",
        "\"a\" - 1",
        "let x = #{}; x.y.z",
        "whole(\"x\")",
        "let x = \"a\"; x[9]",
    ];
    for body in bodies {
        let said = fault(body);
        for foreign in ["not found", "Data type", "Syntax error", "i64", "f64", "string", "bounds", "Indexer", "Runtime"] {
            assert!(!said.split('|').next().unwrap_or_default().contains(foreign), "{body}: {said}");
        }
    }
}

#[test]
fn unknown_is_not_caught_by_try() {
    for read in ["series(\"nothing\").last() > 1", "series(\"nothing\")"] {
        let body = format!("try {{ let x = {read}; }} catch {{ propose(notify(\"caught\")).because(\"x\"); }}");
        assert!(matches!(evaluate(&body), Evaluated::Undetermined(_)), "{:?}", evaluate(&body));
    }
    // Nor is a misuse of our functions.
    assert!(fault("try { series(\"temp\").over(\"soon\"); } catch { }").contains("is not a duration"));
    // A fault of the script's own may be caught.
    assert!(matches!(evaluate("try { throw \"x\"; } catch { }"), Evaluated::Quiet));
}

#[test]
fn what_was_wished_before_an_unknown_reading_is_not_wished() {
    let body = "propose(notify(\"x\")).because(\"y\"); series(\"nothing\").last() > 1";
    assert!(matches!(evaluate(body), Evaluated::Undetermined(_)));
}

#[test]
fn a_panic_in_a_function_is_a_fault_and_the_host_lives_on() {
    let mut host = host();
    host.engine_mut().register_fn("explode", || -> i64 { panic!("by design") });
    match run_in(&host, "fn policy() { #{} } fn evaluate() { explode() }") {
        Evaluated::Fault(said) => assert!(said.contains("panicked: by design"), "{said}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(run_in(&host, "fn policy() { #{} } fn evaluate() { series(\"temp\").last() > 1 }"), Evaluated::Quiet));
}

#[test]
fn reads_samples_wishes_and_prints_are_limited() {
    assert!(fault("for i in 0..300 { series(\"temp\").last() > 1; }").contains("more than 256 reads"));
    assert!(fault("for i in 0..20 { propose(notify(`${i}`)).because(\"x\"); }").contains("more than 16 proposals"));
    let host = host();
    let policy = host
        .compile(&source("fn policy() { #{} } fn evaluate() { for i in 0..100 { print(`${i}`); } }"))
        .unwrap_or_else(|e| panic!("{}", e[0]));
    let traits = Traits { origin: Origin::Policy("p".into()), symptom: "-".into(), target: "policy/p".into() };
    assert_eq!(host.evaluate(&policy, &Subject::Once, &traits, NOW).prints.len(), 20);
}

#[test]
fn mistakes_are_found_at_load_with_the_nearest_right_thing() {
    let said =
        refused("fn policy() { #{ for_each: series(\"temp\") } }\nfn evaluate(s) {\n    if s.heldbelow(1, \"5m\") { notfy(\"x\") }\n}");
    assert!(said.contains("there is no function `heldbelow`") && said.contains("did you mean `held_below`?"), "{said}");
    assert!(said.contains("there is no function `notfy`") && said.contains("did you mean `notify`?"), "{said}");
    assert!(said.contains("policies/p.rhai:3:") && said.contains("3 |     if s.heldbelow"), "{said}");
    let said = refused("fn policy() {\n    #{ evry: \"1m\" }\n}\nfn evaluate() { }");
    assert!(said.contains("has no key `evry`") && said.contains("did you mean `every`?") && said.contains(":2:"), "{said}");
    assert!(refused("fn policy() { #{ autonomy: \"suggset\" } }\nfn evaluate() { }").contains("did you mean `suggest`?"));
    assert!(refused("fn policy() { #{ every: \"soon\" } }\nfn evaluate() { }").contains("`soon` is not a duration"));
    assert!(refused("fn policy() { #{ every: \"10ms\" } }\nfn evaluate() { }").contains("expected at least 1s"));
    assert!(refused("fn policy() { #{ for_each: series(\"{\") } }\nfn evaluate(s) { }").contains("for_each"));
    assert!(refused("fn policy() { #{} }\nfn evaluate(s) { }").contains("no `for_each`"));
    assert!(refused("fn policy() { #{} }").contains("nothing would ever run"));
    assert!(refused("fn evaluate() { }").contains("no `fn policy()`"));
    assert!(refused("fn policy() { #{} }\nfn on_alert(a) { }").contains("does not say which alerts"));
    assert!(refused("fn policy() { 1 }\nfn evaluate() { }").contains("must give a map"));
    assert!(refused("fn policy() { #{ }").contains("policies/p.rhai:1:"));
}

#[test]
fn policy_is_read_without_data() {
    for body in ["series(\"temp\").last() > 1", "all(\"temp\")", "propose(notify(\"x\"))"] {
        let said = refused(&format!("fn policy() {{ {body}; #{{}} }}\nfn evaluate() {{ }}"));
        assert!(said.contains("policy()"), "{body}: {said}");
    }
}

#[test]
fn the_configuration_may_change_parameters_and_only_lower_autonomy() {
    let text = "fn policy() { #{ autonomy: \"suggest\", params: #{ warn: 0.1, name: \"x\" } } }\nfn evaluate() { param(\"warn\") }";
    let host = host();
    let with = |overrides: PolicyOverride| host.compile(&PolicySource { overrides, ..source(text) });
    let params = |pairs: &[(&str, homeostat_model::Arg)]| PolicyOverride {
        params: pairs.iter().map(|(name, arg)| ((*name).to_owned(), arg.clone())).collect(),
        autonomy: Some(homeostat_model::Autonomy::Auto),
        ..PolicyOverride::default()
    };
    let policy = with(params(&[("warn", homeostat_model::Arg::Int(1))])).unwrap_or_else(|errors| panic!("{}", errors[0]));
    assert_eq!((policy.params["warn"].clone(), policy.autonomy), (homeostat_model::Arg::Float(1.0), homeostat_model::Autonomy::Suggest));
    for (wrong, said) in
        [(params(&[("wran", 1.0.into_arg())]), "did you mean `warn`?"), (params(&[("warn", "x".into())]), "the policy's own is a float")]
    {
        let errors = with(wrong).err().unwrap_or_default();
        assert!(errors.iter().any(|error| error.to_string().contains(said)), "{errors:?}");
    }
}

trait IntoArg {
    fn into_arg(self) -> homeostat_model::Arg;
}

impl IntoArg for f64 {
    fn into_arg(self) -> homeostat_model::Arg {
        homeostat_model::Arg::Float(self)
    }
}

#[test]
fn comparisons_record_how_far_they_were_from_turning_over() {
    let host = host();
    let policy = host
        .compile(&source("fn policy() { #{} }\nfn evaluate() { let t = series(\"temp\"); if t.last() > 80 { 1 } else { 40 < t.last() } }"))
        .unwrap_or_else(|errors| panic!("{}", errors[0]));
    let traits = Traits { origin: Origin::Policy("p".into()), symptom: "-".into(), target: "policy/p".into() };
    host.evaluate(&policy, &Subject::Once, &traits, NOW);
    let mut trail = super::Trail::default();
    host.swap_trail(&mut trail);
    let margins: Vec<(String, f64)> =
        host.evidence_of(&trail).into_iter().flat_map(|e| e.margins).map(|m| (m.relation, m.distance)).collect();
    assert_eq!(margins, [("> 80".to_owned(), -38.0), ("> 40".to_owned(), 2.0)]);
}

#[test]
fn every_documented_function_is_registered() {
    let known: Vec<String> = host().engine_mut().gen_fn_signatures(false);
    for entry in super::manual::ENTRIES {
        // Names right before a parenthesis; what stands between quotes is an example.
        let code: String = entry.call.split('"').step_by(2).collect::<Vec<_>>().join("\"");
        for (at, _) in code.match_indices('(') {
            let name: String = code[..at].chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let name: String = name.chars().rev().collect();
            assert!(
                known.iter().any(|signature| signature.starts_with(&format!("{name}("))),
                "`{name}` of `{}` is not registered",
                entry.call
            );
        }
    }
}

/// `docs/policy-api.md` is what [`super::reference`] says; `HOMEOSTAT_BLESS=1` writes it anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test compares the committed page; the engine itself has neither files nor environment")]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy-api.md");
    if std::env::var("HOMEOSTAT_BLESS").is_ok() {
        std::fs::write(path, super::reference()).expect("the page is written");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == super::reference(), "docs/policy-api.md is out of date: run the tests once with HOMEOSTAT_BLESS=1");
}
