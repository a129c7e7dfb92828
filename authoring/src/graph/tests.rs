//! Fights and restless loops are found, quiet ones are not, and the picture of a small set is the same every time.

use super::draw::{Format, draw};
use super::*;
use homeostat_model::PolicyOverride;
use std::path::Path;

fn source(id: &str, text: &str) -> PolicySource {
    PolicySource { id: id.into(), path: format!("{id}.rhai"), text: text.into(), overrides: PolicyOverride::default() }
}

fn of(policies: &[(&str, String)]) -> Loops {
    analyse(&Sources { policies: policies.iter().map(|(id, text)| source(id, text)).collect(), ..Sources::default() })
}

fn codes(loops: &Loops) -> Vec<&str> {
    loops.findings.iter().map(|finding| finding.code).collect()
}

/// A policy on a node's temperature: `verb` when `condition` holds.
fn fan(condition: &str, verb: &str, claim: &str, settings: &str) -> String {
    format!(
        "fn policy() {{ #{{ for_each: series(\"temperature_celsius\"), every: \"1m\", {settings} }} }}\n\
         fn evaluate(t) {{\n    if {condition} {{\n        propose(act(\"{verb}\", `node/${{t.node}}`, #{{}})).because(\"x\").claim({claim});\n    }}\n}}\n"
    )
}

#[test]
fn a_fight_of_two_policies_is_found_whatever_their_verbs_are_called() {
    let cool = ("cool", fan("t.held_above(60, \"5m\")", "exec.fan-fast", "t.below(55).within(\"10m\")", "cooldown: \"10m\""));
    let quiet = ("quiet", fan("t.held_below(70, \"5m\")", "exec.fan-slow", "t.above(62).within(\"10m\")", "cooldown: \"10m\""));
    let loops = of(&[cool.clone(), quiet]);
    let fight = loops.findings.iter().find(|finding| finding.code == "opposing-policies").expect("they fight between 60 and 70");
    assert!(fight.message.contains("> 60 and < 70"), "{}", fight.message);
    assert!(loops.is_wrong());
    assert_eq!(fight.line, 4);
    // With room between them, and each with patience, there is none.
    let calm = ("quiet", fan("t.held_below(45, \"5m\")", "exec.fan-slow", "t.above(45).within(\"10m\")", "cooldown: \"10m\""));
    assert!(codes(&of(&[cool.clone(), calm])).is_empty(), "{:?}", of(&[cool]).findings);
}

#[test]
fn a_loop_without_hysteresis_or_dead_time_is_found() {
    let both = |up: &str, down: &str, settings: &str| {
        format!(
            "fn policy() {{ #{{ for_each: series(\"pool_load_ratio\"), {settings} }} }}\nfn evaluate(load) {{\n    if {up} {{\n        \
             propose(act(\"pool.grow\", `pool/${{load.pool}}`, #{{}})).because(\"x\").claim(load.below(0.75).within(\"20m\"));\n    }} else if {down} {{\n        \
             propose(act(\"pool.shrink\", `pool/${{load.pool}}`, #{{}})).because(\"x\").claim(load.above(0.5).within(\"20m\"));\n    }}\n}}\n"
        )
    };
    let at = |text: String| of(&[("pool-size", text)]);
    let restless = at(both("load.last() > 0.75", "load.last() < 0.5", "cooldown: \"1m\""));
    assert!(codes(&restless).contains(&"loop-without-dead-time") && restless.is_wrong(), "{:?}", restless.findings);
    let narrow = at(both("load.held_above(0.7, \"10m\")", "load.held_below(0.7, \"10m\")", "cooldown: \"30m\", settle: \"20m\""));
    assert_eq!(codes(&narrow), ["loop-without-hysteresis", "claim-inside-trigger", "claim-inside-trigger"], "{:?}", narrow.findings);
    let good = at(both("load.held_above(0.75, \"10m\")", "load.held_below(0.5, \"10m\")", "cooldown: \"30m\", settle: \"20m\""));
    assert!(codes(&good).is_empty(), "{:?}", good.findings);
}

#[test]
fn what_can_never_be_wished_and_what_is_claimed_wrongly_is_found() {
    let never = fan("t.last() > 80 && t.last() < 60", "exec.fan", "t.below(60).within(\"5m\")", "cooldown: \"1h\"");
    assert_eq!(codes(&of(&[("never", never)])), ["never-holds"]);
    let asleep = "fn policy() { #{ for_each: series(\"node_up\"), cooldown: \"1h\" } }\nfn evaluate(up) {\n if up.held_below(1, \"5m\") {\n \
                  propose(act(\"power.sleep\", `node/${up.node}`, #{})).because(\"x\").claim(up.above(0.5).within(\"5m\")); } }";
    assert_eq!(codes(&of(&[("asleep", asleep.into())])), ["claim-against-effect"]);
    let elsewhere = "fn policy() { #{ for_each: series(\"certificate_expiry_seconds\"), cooldown: \"1h\" } }\nfn evaluate(left) {\n if left.held_below(9, \"5m\") {\n \
                  propose(act(\"power.wake\", \"node/a\", #{})).because(\"x\").claim(left.above(99).within(\"5m\")); } }";
    assert_eq!(codes(&of(&[("elsewhere", elsewhere.into())])), ["claim-not-moved"]);
    let inside = fan("t.held_above(60, \"5m\")", "exec.fan", "t.below(70).within(\"5m\")", "cooldown: \"1h\"");
    assert_eq!(codes(&of(&[("inside", inside)])), ["claim-inside-trigger"]);
    let known = Some(["node_up".to_owned()].into());
    let policies = vec![source("odd", &never_read()), source("asleep", asleep)];
    let loops = analyse(&Sources { policies, metrics: known, ..Sources::default() });
    assert_eq!(codes(&loops), ["claim-against-effect", "not-delivered"], "{:?}", loops.findings);
    let twice = fan("t.held_above(60, \"5m\")", "exec.fan", "t.below(50).within(\"5m\")", "cooldown: \"1h\"");
    assert_eq!(codes(&of(&[("one", twice.clone()), ("two", twice)])), ["double-wish"]);
}

/// A policy that reads what nobody delivers.
fn never_read() -> String {
    "fn policy() { #{ for_each: series(\"odd_metric\") } }\nfn evaluate(odd) { if odd.last() > 1 { propose(notify(\"odd\")).because(\"x\"); } }".into()
}

#[test]
fn shipped_policies_are_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (folder, warnings) in [("policies", false), ("labs/classic/policies", true), ("labs/classic/demo", true)] {
        let mut policies = Vec::new();
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "rhai") {
                let id = path.file_stem().unwrap().to_string_lossy().into_owned();
                policies.push(source(&id, &std::fs::read_to_string(&path).unwrap()));
            }
        }
        assert!(policies.len() >= 8, "{folder}");
        let loops = analyse(&Sources { policies, ..Sources::default() });
        let bad: Vec<_> = loops.findings.iter().filter(|finding| !warnings || finding.severity == Severity::Error).collect();
        assert!(bad.is_empty(), "{folder}: {bad:#?}");
    }
}

#[test]
fn the_pictures_of_a_small_set_are_these() {
    let cool = ("cool", fan("t.held_above(60, \"5m\")", "exec.fan-fast", "t.below(55).within(\"10m\")", "cooldown: \"10m\""));
    let tell = "fn policy() { #{ for_each: series(\"node_up\") } }\nfn evaluate(up) { if up.last() < 1 { propose(notify(`${up.node} is \"down\"`)).because(\"x\"); } }";
    let loops = of(&[cool, ("tell", tell.into())]);
    let expected = "digraph homeostat {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  \
        \"metric node_up\" [label=\"node_up\", shape=ellipse];\n  \
        \"metric temperature_celsius\" [label=\"temperature_celsius\", shape=ellipse, color=red];\n  \
        \"policy cool\" [label=\"cool\", shape=box, color=red];\n  \
        \"policy tell\" [label=\"tell\", shape=box];\n  \
        \"verb exec.fan-fast\" [label=\"exec.fan-fast\", shape=cds, color=red];\n  \
        \"verb notify.send\" [label=\"notify.send\", shape=cds];\n  \
        \"metric node_up\" -> \"policy tell\";\n  \
        \"metric temperature_celsius\" -> \"policy cool\";\n  \
        \"policy cool\" -> \"verb exec.fan-fast\" [label=\"wishes\"];\n  \
        \"policy tell\" -> \"verb notify.send\" [label=\"wishes\"];\n  \
        \"verb exec.fan-fast\" -> \"metric temperature_celsius\" [label=\"lowers\"];\n}\n";
    assert_eq!(draw(&loops, Format::Dot), expected);
    let mermaid = draw(&loops, Format::Mermaid);
    assert!(
        mermaid.starts_with("flowchart LR\n")
            && mermaid.contains("n4{{\"exec.fan-fast\"}}:::loop")
            && mermaid.contains("n4 -->|lowers| n1"),
        "{mermaid}"
    );
    let svg = draw(&loops, Format::Svg);
    assert_eq!((svg.matches("<rect class").count(), svg.matches("<path").count()), (7, 5), "{svg}");
    assert!(svg.contains("temperature_celsius") && !svg.contains("NaN"));
}
