//! What is refused before anything is sent, and in which words.

use super::super::node::Own;
use super::machine::*;
use super::*;
use crate::conformance::{Server, action_with, answer};
use homeostat_model::Args;
use serde_json::Value;

fn conflict(outcome: Outcome, words: &str) {
    let fault = not_done(outcome);
    assert!(fault.code == FaultCode::Conflict && fault.detail.contains(words), "{words}: {fault}");
}

#[tokio::test]
async fn roles_words_and_the_engines_own_host_are_refused_by_looking_at_the_action_alone() {
    let machine = Machine::new(true);
    let agent = machine.agent(|_| answer(200, json!({}))).await;
    let way = json!({ "via": "http", "url": format!("{}/sleep", agent.url) });
    let own = Own { names: vec!["brain.lan".into()], addresses: vec!["192.168.1.7".parse().unwrap()] };
    for (more, verbs, words) in [
        (json!({ "role": "control_plane" }), vec!["power.sleep", "power.off"], "control plane"),
        (json!({ "role": "quorum" }), vec!["power.sleep", "power.off"], "quorum"),
        (json!({ "never": ["sleep"] }), vec!["power.sleep"], "never: [sleep]"),
        (json!({ "also_known_as": ["192.168.1.7"] }), vec!["power.sleep", "power.off", "power.reboot"], "this engine runs on"),
        (json!({ "also_known_as": ["BRAIN"] }), vec!["power.sleep", "power.off", "power.reboot"], "this engine runs on"),
    ] {
        let mut node = machine.node(json!({ "sleep": way, "off": way, "reboot": way }));
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (_dir, power) = build_on(node, &own).unwrap();
        for verb in ["power.sleep", "power.off", "power.reboot"] {
            let refused = power.check(&action(1, verb, "node/muscle")).err();
            assert_eq!(refused.as_ref().map(|fault| fault.code), verbs.contains(&verb).then_some(FaultCode::Conflict), "{more} {verb}");
        }
        conflict(power.apply(Time(0), &action(1, "power.sleep", "node/muscle")).await, words);
    }
    assert_eq!(agent.seen().len(), 0);
}

#[tokio::test]
async fn people_who_are_logged_in_and_last_copies_are_asked_about_and_no_answer_is_a_no() {
    let dir = tempfile::tempdir().unwrap();
    let page = |body: &'static str, status: u16| async move {
        Server::start(move |_, _| axum::response::IntoResponse::into_response((axum::http::StatusCode::from_u16(status).unwrap(), body)))
            .await
    };
    let machine = Machine::new(true);
    let agent = machine.agent(|_| answer(200, json!({}))).await;
    let sleep = json!({ "via": "http", "url": format!("{}/sleep", agent.url) });
    let apply = |more: Value| {
        let mut node = machine.node(json!({ "sleep": sleep }));
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        async move {
            let (_dir, power) = build(node);
            power.apply(Time(0), &action(1, "power.sleep", "node/muscle")).await
        }
    };
    let (host, way) = ssh(dir.path(), "echo 'ada tty1 2026-11-21'; echo; echo 'bob pts/0 2026-11-21'");
    conflict(apply(json!({ "ssh": host, "sessions": way })).await, "2 logged in");
    let exporter = page("node_logind_sessions{seat=\"\",remote=\"true\"} 1\nnode_logind_sessions{seat=\"seat0\"} 0\n", 200).await;
    let metric = json!({ "via": "http", "url": exporter.url, "metric": "node_logind_sessions" });
    conflict(apply(json!({ "sessions": metric })).await, "1 logged in");
    let list = page("{\"sessions\": [{}, {}, {}]}", 200).await;
    conflict(apply(json!({ "sessions": { "via": "http", "url": list.url, "json_pointer": "/sessions" } })).await, "3 logged in");
    let broken = page("oops", 503).await;
    let fault = not_done(apply(json!({ "sessions": { "via": "http", "url": broken.url } })).await);
    assert!(fault.detail.contains("cannot be asked") && fault.detail.contains("503"), "{fault}");
    let volume = page("{\"robustness\": \"degraded\"}", 200).await;
    let check = |url: &str| json!({ "equals": "healthy", "ask": { "via": "http", "url": url, "json_pointer": "/robustness" } });
    conflict(apply(json!({ "storage_check": check(&volume.url) })).await, "may be the last copy");
    assert_eq!(agent.seen().len(), 0, "nothing was sent");
    let healthy = page("{\"robustness\": \"healthy\"}", 200).await;
    let nobody = page("0", 200).await;
    done(apply(json!({ "storage_check": check(&healthy.url), "sessions": { "via": "http", "url": nobody.url } })).await);
}

#[tokio::test]
async fn too_soon_after_a_wake_too_soon_after_rest_and_too_short_to_pay() {
    let machine = Machine::new(false);
    let agent = machine.agent(|_| answer(200, json!({}))).await;
    let way = |path: &str| json!({ "via": "http", "url": format!("{}/{path}", agent.url) });
    let node = |more: Value| {
        let mut node = machine.node(json!({ "sleep": way("sleep"), "wake": way("wake"), "min_up": "10m", "min_down": "5m",
            "boot_joules": 10800.0, "boot_time": "90s", "awake_watts": 60.0, "asleep_watts": 2.0 }));
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node
    };
    let (_dir, power) = build(node(json!({})));
    let lease = |action: Action| Action { lease: homeostat_model::Lease { generation: 1, expires: Time::MAX }, ..action };
    let at = |minutes: i64| Time(minutes * 60_000);
    done(power.apply(at(0), &lease(action(1, "power.wake", "node/muscle"))).await);
    conflict(power.apply(at(9), &lease(action(2, "power.sleep", "node/muscle"))).await, "`min_up` is 10m");
    let idle =
        |id, text: &str| lease(action_with(id, "power.sleep", "node/muscle", Args::from([("idle_for".to_owned(), Arg::from(text))])));
    assert_eq!(power.check(&idle(3, "3m")).unwrap_err().code, FaultCode::Conflict, "183 s are needed");
    assert_eq!(power.check(&idle(3, "")), Ok(()), "nobody asks whether it pays");
    assert_eq!(power.check(&idle(3, "soon")).unwrap_err().code, FaultCode::Malformed);
    conflict(power.apply(at(11), &idle(3, "3m")).await, "sleeping pays only after 3m3s");
    done(power.apply(at(11), &idle(4, "4m")).await);
    conflict(power.apply(at(13), &lease(action(5, "power.wake", "node/muscle"))).await, "`min_down` is 5m");
    done(power.apply(at(17), &lease(action(6, "power.wake", "node/muscle"))).await);
    assert_eq!(agent.seen().len(), 3, "wake, sleep, wake");
    // Boots that were measured to take ten minutes cost eight and a half minutes of 60 W more than configured: 40,200 J ÷ 58 W.
    (0..5).for_each(|_| {
        power.nodes[&Target::from("node/muscle")].learn(Memory::woken(&power.ledger, "muscle", at(17), Span::from_mins(10), None))
    });
    let weighed = |power: &Power| power.preview(&idle(7, "1h")).unwrap().into_iter().find(|call| call.call.starts_with("weigh")).unwrap();
    let figures = "a boot of 600 s and 41400 J (as measured, 7 boots), 60 W awake, 2 W asleep";
    assert_eq!(weighed(&power).call, format!("weigh: sleeping pays after 11m33s104ms of idle time: {figures}"));
    // A daemon that starts again has them from the ledger; wear is dearer than ten naps.
    let worn = node(json!({ "wear_euros_per_cycle": 0.01 }));
    let again = Power::on_host(&serde_json::from_value(whole(worn)).unwrap(), power.ledger.clone(), &Own::default()).unwrap();
    assert_eq!(weighed(&again).call, format!("weigh: sleeping pays after 46m2s69ms of idle time: {figures}, 0.01 € of wear at 0.3 €/kWh"));
    let refused = again.check(&idle(7, "45m")).unwrap_err().detail;
    assert!(refused.contains("such a boot with its wear costs more than the nap saves"), "{refused}");
    let sleep = idle(7, "11m");
    assert_eq!(power.check(&sleep).unwrap_err().code, FaultCode::Conflict);
    conflict(power.apply(at(40), &sleep).await, "sleeping pays only after 11m33s104ms: its boots take 10m as measured");
    done(power.apply(at(41), &idle(8, "12m")).await);
    assert_eq!(agent.seen().len(), 4, "and one sleep");
}

#[test]
fn every_problem_of_a_node_is_told() {
    let wrong = |node: Value| -> Vec<String> {
        let faults = build_on(node, &Own::default()).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.detail).collect()
    };
    let probe = json!({ "tcp": "nas:22" });
    for (node, words) in [
        (json!({ "mac": "00:11:22:33:44:55" }), vec!["0 witnesses"]),
        (json!({ "probe": probe, "witnesses_min": 2 }), vec!["`witnesses_min` is 2"]),
        (json!({ "probe": probe, "watts": { "via": "http", "url": "http://plug" } }), vec!["go together"]),
        (json!({ "probe": probe, "wake": { "via": "wol" } }), vec!["needs the node's `mac`"]),
        (json!({ "probe": probe, "sleep": { "via": "wol" } }), vec!["cannot do this", "`mac`"]),
        (json!({ "probe": probe, "sleep": { "via": "ssh", "key_file": "/k" } }), vec!["needs the node's `ssh`"]),
        (json!({ "probe": probe, "off": { "via": "sleep-on-lan" }, "sleep_on_lan": { "url": "http://x" } }), vec!["such as `shutdown`"]),
        (
            json!({ "probe": probe, "reboot": { "via": "ipmi" }, "ipmi": { "host": "x", "user": "u", "password": "p" } }),
            vec!["no graceful restart"],
        ),
        (json!({ "probe": probe, "sessions": { "via": "home-assistant", "entity": "x" } }), vec!["needs the node's `home_assistant`"]),
        (json!({ "probe": probe, "awake_watts": -1.0, "min_up": "-1s" }), vec!["`min_up`", "`awake_watts`"]),
        (json!({ "probe": probe, "wear_euros_per_cycle": 0.01 }), vec!["give `awake_watts`"]),
        (json!({ "probe": probe, "sleep": { "via": "http", "url": "http://u:hunter2@x/" } }), vec!["holds no credentials"]),
        (
            json!({ "probe": probe, "off": { "via": "ssh", "key_file": "/k" },
                "ssh": { "host": "-oProxyCommand=x", "user": "a b", "known_hosts": "/h" } }),
            vec!["`ssh.host`", "`ssh.user`"],
        ),
    ] {
        let problems = wrong(node.clone());
        assert_eq!(problems.len(), words.len(), "{node}: {problems:?}");
        for word in words {
            assert!(problems.iter().any(|problem| problem.contains(word)), "{word} in {problems:?}");
        }
        assert!(!format!("{problems:?}").contains("hunter2"));
    }
}
