//! Sleep, off and restarts: proven by silence, by watts, by another boot.

use super::machine::*;
use super::*;
use crate::conformance::{Server, answer};
use std::sync::Mutex;

#[tokio::test]
async fn sleep_is_proven_by_silence_taken_back_by_a_wake_and_both_once() {
    let machine = Machine::new(true);
    let agent = machine.agent(|_| answer(200, json!({}))).await;
    let way = |path: &str| json!({ "via": "http", "url": format!("{}/{path}", agent.url) });
    let (_dir, power) = build(machine.node(json!({ "sleep": way("sleep"), "wake": way("wake"), "boot_joules": 9000.0 })));
    let spec = power.spec();
    let of = |verb: &str| spec.verbs.iter().find(|spec| spec.verb.as_str() == verb).unwrap();
    assert_eq!((of("power.sleep").class, of("power.sleep").opposite.clone()), (Class::Reversible, Some("power.wake".into())));
    assert!(of("power.sleep").revertible && !of("power.wake").revertible);
    assert_eq!((of("power.wake").cost.energy_joules, of("power.sleep").cost.disruption), (9000.0, Span::from_millis(400)));
    let counts = |verb: &str| (of(verb).cost.boots, of(verb).cost.power_cycles, of(verb).cost.evictions);
    assert_eq!((counts("power.wake"), counts("power.sleep")), ((1, 0, 0), (0, 1, 0)), "one nap is one cycle and one boot");

    let sleep = action(1, "power.sleep", "node/muscle");
    let planned = power.preview(&sleep).unwrap();
    assert!(!planned.iter().any(|call| call.call.starts_with("weigh")), "nothing is known of what it draws");
    assert_eq!(
        planned.iter().filter(|call| call.writes).map(|call| call.call.clone()).collect::<Vec<_>>(),
        [format!("POST {}/sleep", agent.url)]
    );
    assert!(power.ready().await.is_empty());
    assert_eq!(agent.seen().len(), 0, "preview and ready send nothing");
    let receipt = done(power.apply(Time(1_000), &sleep).await);
    assert_eq!(agent.seen().len(), 1);
    let woken = done(power.revert(Time(50_000), &sleep, &receipt).await);
    assert!(woken.observed.ends_with("after the send"), "{woken:?}");
    assert!(machine.up());
    assert_eq!(done(power.revert(Time(51_000), &sleep, &receipt).await), woken, "once");
    assert_eq!(agent.seen().len(), 2);

    // Asleep already: nothing is sent, and there is nothing to take back.
    machine.set(false);
    let again = action(2, "power.sleep", "node/muscle");
    let receipt = done(power.apply(Time(0), &again).await);
    assert!(receipt.observed.starts_with("was silent already"), "{receipt:?}");
    assert_eq!(not_done(power.revert(Time(0), &again, &receipt).await).code, FaultCode::NeverStarted);
    assert_eq!(agent.seen().len(), 2);
}

#[tokio::test]
async fn what_another_has_done_since_is_not_taken_back() {
    let machine = Machine::new(true);
    let agent = machine.agent(|_| answer(200, json!({}))).await;
    let way = |path: &str| json!({ "via": "http", "url": format!("{}/{path}", agent.url) });
    let (_dir, power) = build(machine.node(json!({ "sleep": way("sleep"), "wake": way("wake"), "revert_wake": true })));
    let first = action(1, "power.sleep", "node/muscle");
    let receipt = done(power.apply(Time(1_000), &first).await);
    let wake = action(2, "power.wake", "node/muscle");
    let woken = done(power.apply(Time(20_000), &wake).await);
    done(power.apply(Time(40_000), &action(3, "power.sleep", "node/muscle")).await);
    let fault = not_done(power.revert(Time(50_000), &first, &receipt).await);
    assert!(fault.code == FaultCode::Conflict && fault.detail.contains("since"), "{fault}");
    // A wake that says so is taken back by sleep: it sleeps already.
    let slept = done(power.revert(Time(50_000), &wake, &woken).await);
    assert!(slept.observed.starts_with("was silent already"), "{slept:?}");
    assert_eq!(agent.seen().len(), 3);
}

#[tokio::test]
async fn a_node_that_ignores_the_command_is_unknown_and_then_not_done() {
    let machine = Machine::new(true);
    let agent = Server::start(|_, _| answer(200, json!({}))).await;
    let (_dir, power) = build(machine.node(json!({ "sleep": { "via": "http", "url": agent.url } })));
    let sleep = action(1, "power.sleep", "node/muscle");
    let fault = unknown(power.apply(Time(1_000), &sleep).await);
    assert!(fault.detail.contains("accepted with HTTP 200") && fault.detail.contains("answers"), "{fault}");
    assert_eq!(unknown(power.probe(Time(1_100), &sleep).await).code, FaultCode::TimedOut);
    assert_eq!(not_done(power.probe(Time(9_000), &sleep).await).code, FaultCode::TimedOut);
    machine.set(false);
    done(power.probe(Time(9_000), &sleep).await);
    assert_eq!(agent.seen().len(), 1, "probing sends nothing");
}

#[tokio::test]
async fn ssh_that_dies_is_no_error_that_is_refused_is_not_sent_and_that_hangs_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    for (body, outcome, code, words) in [
        ("echo 'homeostat@muscle.lan: Permission denied (publickey).' >&2; exit 255", "not_done", FaultCode::Denied, "publickey"),
        ("echo 'ssh: connect to host muscle.lan port 22: No route to host' >&2; exit 255", "not_done", FaultCode::Unreachable, "No route"),
        ("echo 'Host key verification failed.' >&2; exit 255", "not_done", FaultCode::Denied, "Host key"),
        ("echo 'sudo: a password is required' >&2; exit 1", "not_done", FaultCode::Failed, "sudo"),
        ("echo 'Connection to muscle.lan closed by remote host.' >&2; exit 255", "unknown", FaultCode::TimedOut, "answers"),
        ("exec sleep 600", "unknown", FaultCode::TimedOut, "was killed"),
    ] {
        let machine = Machine::new(true);
        let (host, way) = ssh(dir.path(), body);
        let (_dir, power) = build(machine.node(json!({ "sleep": way, "ssh": host })));
        let got = power.apply(Time(0), &action(1, "power.sleep", "node/muscle")).await;
        let (Outcome::NotDone(fault) | Outcome::Unknown(fault)) = &got else { panic!("{got:?}") };
        assert!((got.name(), fault.code) == (outcome, code) && fault.detail.contains(words), "{body}: {got:?}");
    }
    let machine = Machine::new(true);
    let (mut host, way) = ssh(dir.path(), "");
    let (_dir, power) = build(machine.node(json!({ "sleep": way, "ssh": host })));
    assert!(power.ready().await.is_empty());
    let planned = power.preview(&action(1, "power.sleep", "node/muscle")).unwrap();
    let line = &planned.last().unwrap().call;
    for part in
        ["-o BatchMode=yes", "-o ConnectTimeout=10", "-o StrictHostKeyChecking=yes", "-l homeostat -- muscle.lan sudo systemctl suspend"]
    {
        assert!(line.contains(part), "{line}");
    }
    host["known_hosts"] = json!(dir.path().join("absent"));
    let (_dir, power) = build(machine.node(json!({ "sleep": { "via": "ssh", "key_file": dir.path().join("key") }, "ssh": host })));
    assert!(power.ready().await[0].1.detail.contains("absent"));
}

/// A plug with a meter and a machine behind it.
async fn plug(machine: &Machine, watts: &'static str, state: &'static str) -> Server {
    let (machine, on) = (machine.clone(), Arc::new(Mutex::new(state)));
    Server::start(move |_, seen| {
        assert_eq!(seen.header("authorization"), "Bearer long-lived-token");
        match seen.uri.path() {
            "/api/states/sensor.plug_watts" => answer(200, json!({ "state": watts })),
            "/api/states/switch.plug" => answer(200, json!({ "state": *on.lock().unwrap() })),
            "/api/services/switch/turn_off" => {
                assert_eq!(seen.json(), json!({ "entity_id": "switch.plug" }));
                *on.lock().unwrap() = "off";
                answer(200, json!([]))
            }
            "/api/services/switch/turn_on" => {
                *on.lock().unwrap() = "on";
                machine.set(true);
                answer(200, json!([]))
            }
            other => panic!("{other}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_plug_is_cut_only_under_a_node_that_is_silent_and_draws_nothing() {
    for (up, watts, state, outcome, words, cuts) in [
        (true, "3.0", "on", "not_done", "still runs", 0),
        (false, "45.0", "on", "not_done", "still runs", 0),
        (false, "unavailable", "on", "not_done", "not proven off", 0),
        (false, "3.0", "unavailable", "not_done", "`switch.plug` is unavailable", 0),
        (true, "3.0", "off", "not_done", "one of them is wrong", 0),
        (false, "3.0", "off", "done", "was silent already", 0),
        (false, "3.0", "on", "done", "silent for", 1),
    ] {
        let machine = Machine::new(up);
        let home = plug(&machine, watts, state).await;
        let (_dir, power) = build(machine.node(json!({ "off": { "via": "home-assistant" }, "idle_watts": 5.0,
            "watts": { "via": "home-assistant", "entity": "sensor.plug_watts" },
            "home_assistant": { "url": home.url, "token": "long-lived-token", "plug": "switch.plug" } })));
        let got = power.apply(Time(0), &action(1, "power.off", "node/muscle")).await;
        assert!(got.name() == outcome && format!("{got:?}").contains(words), "{up} {watts} {state}: {got:?}");
        assert_eq!(writes(&home).len(), cuts, "{up} {watts} {state}");
    }
    let machine = Machine::new(false);
    let home = plug(&machine, "3.0", "on").await;
    let way = json!({ "via": "home-assistant" });
    let connection = json!({ "url": home.url, "token": "long-lived-token", "plug": "switch.plug" });
    let (_dir, power) = build(machine.node(json!({ "on": way, "home_assistant": connection })));
    let fault = not_done(power.apply(Time(0), &action(1, "power.on", "node/muscle")).await);
    assert!(fault.detail.contains("the plug is on already"), "{fault}");
    let faults = build_on(machine.node(json!({ "off": way, "home_assistant": connection })), &Default::default()).err().unwrap();
    assert!(faults[0].detail.contains("draws nothing"), "{faults:?}");
}

#[tokio::test]
async fn a_restart_is_another_boot_id_or_silence_and_an_answer() {
    // It comes back under another boot id at once: no silence was seen, and none is needed.
    let machine = Machine::new(true);
    let boots = Arc::new(AtomicUsize::new(1));
    let shared = boots.clone();
    let agent = Server::start(move |_, seen| match seen.uri.path() {
        "/reboot" => answer(200, json!({ "n": shared.fetch_add(1, Ordering::SeqCst) })),
        _ => answer(200, json!(format!("node_boot_time_seconds {}", shared.load(Ordering::SeqCst)))),
    })
    .await;
    let reboot = json!({ "via": "http", "url": format!("{}/reboot", agent.url) });
    let boot_id = json!({ "via": "http", "url": format!("{}/id", agent.url) });
    let (_dir, power) = build(machine.node(json!({ "reboot": reboot, "boot_id": boot_id })));
    let first = action(1, "power.reboot", "node/muscle");
    let receipt = done(power.apply(Time(0), &first).await);
    assert!(receipt.observed.contains("the boot id is another"), "{receipt:?}");
    assert_eq!(not_done(power.revert(Time(0), &first, &receipt).await).code, FaultCode::NeverStarted);

    // The command is taken and ignored.
    let deaf = Server::start(|_, _| answer(200, json!({}))).await;
    let ignored = json!({ "via": "http", "url": deaf.url });
    let (_dir, power) =
        build(machine.node(json!({ "reboot": ignored, "boot_id": boot_id, "boot_timeout": "50ms", "off_timeout": "50ms" })));
    assert!(unknown(power.apply(Time(0), &first).await).detail.contains("not seen to go down"));
    assert_eq!(not_done(power.probe(Time(5_000), &first).await).code, FaultCode::TimedOut);
    boots.fetch_add(1, Ordering::SeqCst);
    assert!(done(power.probe(Time(5_000), &first).await).observed.contains("another"));
    assert_eq!(deaf.seen().len(), 1);

    // Without a boot id: silence, then an answer.
    let agent = machine.agent(|_| answer(200, json!({}))).await;
    let reboot = json!({ "via": "http", "url": format!("{}/off", agent.url) });
    let (_dir, power) = build(machine.node(json!({ "reboot": reboot, "boot_timeout": "20s", "off_timeout": "20s" })));
    let coming = async {
        while !power.ledger.started(Mark::Apply(first.id)).unwrap().is_some_and(|started| started.notes.contains_key("fell_silent")) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        machine.set(true);
    };
    let (outcome, ()) = tokio::join!(power.apply(Time(0), &first), coming);
    assert!(done(outcome).observed.contains("it was silent"));
}
