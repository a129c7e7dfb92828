//! Wakes with several witnesses, learned deadlines, and probes after a crash.

use super::super::memory::Memory;
use super::machine::*;
use super::*;
use crate::conformance::{Server, answer};

#[tokio::test]
async fn as_many_witnesses_as_are_asked_for_must_have_seen_it() {
    // The plug shows watts as soon as it was told to start; the port opens with it; the exporter never answers.
    let machine = Machine::new(false);
    let behind = machine.clone();
    let agent = machine.agent(move |seen| match seen.uri.path() {
        "/watts" => answer(200, json!({ "watts": if behind.up() { 45.5 } else { 1.5 } })),
        "/metrics" => answer(503, json!({})),
        _ => answer(200, json!({})),
    });
    let agent = agent.await;
    let node = |min: usize| {
        machine.node(json!({ "wake": { "via": "http", "url": format!("{}/wake", agent.url) }, "witnesses_min": min, "idle_watts": 10.0,
            "watts": { "via": "http", "url": format!("{}/watts", agent.url), "json_pointer": "/watts" },
            "witnesses": [{ "kind": "page", "url": format!("{}/metrics", agent.url) }] }))
    };
    let (_dir, power) = build(node(2));
    let wake = action(1, "power.wake", "node/muscle");
    let receipt = done(power.apply(Time(5_000), &wake).await);
    assert!(receipt.observed.contains(&format!("tcp {} answered", machine.address)), "{receipt:?}");
    assert!(receipt.observed.contains("watts answered") && receipt.undo.contains_key("woken_at"), "{receipt:?}");
    let memory = Memory::read(&power.ledger, "muscle").unwrap();
    assert!(memory.woken_at.is_some() && memory.wakes_ms.len() == 1, "{memory:?}");

    machine.set(false);
    let (_dir, power) = build(node(3));
    let fault = unknown(power.apply(Time(5_000), &wake).await);
    assert!(fault.detail.contains("/metrics did not answer within 0.4 s"), "{fault}");
    // What was seen before the send is in the ledger: the watts count for the probe as well, and still two are not three.
    assert_eq!(unknown(power.probe(Time(5_100), &wake).await).code, FaultCode::TimedOut);
    assert_eq!(not_done(power.probe(Time(9_000), &wake).await).code, FaultCode::TimedOut);
}

#[tokio::test]
async fn power_without_an_answer_is_no_wake_unless_nobody_else_can_be_asked() {
    // It draws power from the first second on, and its port never opens: it hangs in its firmware.
    let machine = Machine::new(false);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = told.clone();
    let agent = Server::start(move |_, seen| {
        counted.fetch_add(usize::from(seen.uri.path() == "/start"), Ordering::SeqCst);
        answer(200, json!({ "watts": if counted.load(Ordering::SeqCst) > 0 { 45.5 } else { 1.5 } }))
    })
    .await;
    let node = machine
        .node(json!({ "wake": { "via": "http", "url": format!("{}/start", agent.url) }, "witnesses_min": 1, "idle_watts": 10.0,
        "watts": { "via": "http", "url": format!("{}/watts", agent.url), "json_pointer": "/watts" } }));
    let (_dir, power) = build(node.clone());
    let wake = action(1, "power.wake", "node/muscle");
    let fault = unknown(power.apply(Time(5_000), &wake).await);
    assert!(fault.detail.contains(&format!("tcp {} did not answer", machine.address)), "{fault}");
    assert_eq!(unknown(power.probe(Time(5_100), &wake).await).code, FaultCode::TimedOut);
    assert_eq!(not_done(power.probe(Time(9_000), &wake).await).code, FaultCode::TimedOut, "power alone is no answer later either");
    machine.set(true);
    assert!(done(power.probe(Time(9_100), &wake).await).observed.contains("tcp"));

    machine.set(false);
    told.store(0, Ordering::SeqCst);
    let mut alone = node;
    alone.as_object_mut().unwrap().remove("probe");
    let (_dir, power) = build(alone);
    assert!(done(power.apply(Time(5_000), &wake).await).observed.contains("watts answered"), "there is nobody else");
}

#[tokio::test]
async fn a_learned_deadline_is_shorter_than_the_default_and_a_configured_one_stands() {
    let machine = Machine::new(false);
    let agent = Server::start(|_, _| answer(200, json!({}))).await;
    for (configured, words) in [(None, "within 30 s"), (Some("20s"), "within 20 s")] {
        let mut node = machine.node(json!({ "wake": { "via": "http", "url": agent.url } }));
        match configured {
            Some(text) => node["boot_timeout"] = json!(text),
            None => drop(node.as_object_mut().unwrap().remove("boot_timeout")),
        }
        let (_dir, power) = build(node);
        for _ in 0..5 {
            Memory::woken(&power.ledger, "muscle", Time(0), Span::from_secs(8), None);
        }
        let wake = Action { timeout: Span::from_mins(10), ..action(1, "power.wake", "node/muscle") };
        let fault = unknown(power.paced(Pace::new(1_000.0)).apply(Time(0), &wake).await);
        assert!(fault.detail.ends_with(words), "{fault}");
    }
}

#[test]
fn the_configuration_of_the_first_release_stands_and_names_one_verb() {
    let node = json!({ "mac": "00:11:22:33:44:55", "probe": { "tcp": "muscle:22" }, "boot_timeout": "3m" });
    let (_dir, power) = build(node);
    assert_eq!(power.spec().verbs.iter().map(|spec| spec.verb.to_string()).collect::<Vec<_>>(), ["power.wake"]);
    let planned = power.preview(&action(1, "power.wake", "node/muscle")).unwrap();
    assert_eq!(planned.len(), 2);
    assert_eq!(planned[1].call, "udp 255.255.255.255:9: 3 magic packets for 00:11:22:33:44:55 at 0s, 30s, 1m30s");
    assert!(planned[1].writes && !planned[0].writes);
}

#[tokio::test]
async fn a_boot_is_metered_by_what_the_node_draws_meanwhile() {
    let machine = Machine::new(false);
    let (looks, booting) = (Arc::new(AtomicUsize::new(0)), machine.clone());
    let agent = machine
        .agent(move |seen| {
            // It draws 40 W and answers at the eighth look.
            if seen.uri.path() == "/watts" && looks.fetch_add(1, Ordering::SeqCst) == 7 {
                booting.set(true);
            }
            answer(200, json!({ "watts": 40.0 }))
        })
        .await;
    let url = |path: &str| format!("{}/{path}", agent.url);
    let (_dir, power) =
        build(machine.node(json!({ "wake": { "via": "http", "url": url("start") }, "idle_watts": 10.0, "boot_timeout": "20s",
        "watts": { "via": "http", "url": url("watts"), "json_pointer": "/watts" } })));
    let wake = Action { timeout: Span::from_secs(20), ..action(1, "power.wake", "node/muscle") };
    done(power.apply(Time(5_000), &wake).await);
    let memory = Memory::read(&power.ledger, "muscle").unwrap();
    let ([millis], [joules]) = (&memory.wakes_ms[..], &memory.wakes_joules[..]) else { panic!("{memory:?}") };
    assert!((joules - 40.0 * *millis as f64 / 1000.0).abs() < 0.05, "{memory:?}");
}
