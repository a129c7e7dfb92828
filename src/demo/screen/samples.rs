//! A hand-made screen for tests: a lab in the middle of its story.

use super::*;
use homeostat_model::Span;

pub(crate) fn action(id: u64, verb: &str, target: &str, phase: &str) -> ActionLine {
    ActionLine {
        id: format!("a{id}"),
        verb: verb.into(),
        target: target.into(),
        args: Vec::new(),
        because: format!("{target} needs it"),
        wished_by: "policy test".into(),
        policy: Some("test".into()),
        symptom: "s".into(),
        phase: phase.into(),
        verdict: "admitted".into(),
        decided_by: None,
        claim: None,
        judged: None,
        outcome: None,
        plan: format!("plan{id}"),
        ruled_at: Time(0),
        sent_at: None,
        moved_at: Time(600_000),
        answer_by: None,
    }
}

fn node(name: &str, state: &str, watts: f64, celsius: f64, cpu_ratio: f64) -> NodeView {
    NodeView { name: name.into(), state: state.into(), watts, celsius, cpu_ratio }
}

fn chapter(name: &str, headline: &str, state: ChapterState) -> ChapterView {
    ChapterView { name: name.into(), headline: headline.into(), state, detail: String::new() }
}

/// Two wait for a person, one was denied, one helped, one did not.
pub(crate) fn screen() -> Screen {
    let now = Time(1_770_000_000_000);
    let claimed = |line: ActionLine, judged: &str| ActionLine {
        claim: Some("x > 1 within 5m".into()),
        judged: Some(judged.into()),
        outcome: Some("done: HTTP 200".into()),
        ..line
    };
    let asks = |id, verb: &str, target: &str, seconds| ActionLine {
        answer_by: Some(now + Span::from_secs(seconds)),
        decided_by: Some("autonomy: the policy may only suggest".into()),
        ..action(id, verb, target, "awaiting_approval")
    };
    let approvals = vec![asks(7, "http.evacuate", "disk/nas:sdb", 900), asks(8, "http.restart", "service/photos", 3500)];
    let denied = ActionLine {
        verdict: "denied".into(),
        decided_by: Some("own base: node/brain runs the engine".into()),
        ..action(6, "power.sleep", "node/brain", "denied")
    };
    let mut actions = approvals.clone();
    actions.extend([
        denied,
        claimed(action(5, "http.clean", "filesystem/nas:/srv", "done"), "held"),
        claimed(action(4, "http.restart", "service/web", "done"), "failed"),
        action(3, "power.wake", "node/muscle", "in_flight"),
    ]);
    let service = |name: &str, up, latency_seconds, ready| ServiceView { name: name.into(), up, latency_seconds, ready, replicas: 2 };
    Screen {
        now,
        began: now - Span::from_mins(42),
        speed: 30.0,
        left_seconds: Some(96),
        address: "http://127.0.0.1:41234/".into(),
        looping: LoopView {
            hands_off: None,
            stages: Stages { sense: 1200, store: 48_000, analyse: 900, propose: 8, rule: 14, act: 5, judge: 2, held: 1, failed: 1 },
            actions,
            approvals,
        },
        plant: PlantView {
            nodes: vec![
                node("brain", "on", 5.2, 34.0, 0.04),
                node("nas", "on", 31.0, 41.0, 0.22),
                node("pi-1", "on", 9.0, 38.5, 0.31),
                node("pi-2", "on", 8.0, 38.0, 0.18),
                node("pi-3", "hung", 7.0, 37.0, 0.0),
                node("muscle", "starting", 190.0, 29.0, 0.0),
            ],
            services: vec![service("web", true, 0.082, 2), service("photos", false, 10.0, 0)],
            faults: vec!["runaway-log filesystem/nas:/srv".into(), "crash-loop service/photos".into()],
            joules: 400_000.0,
            joules_always_on: 620_000.0,
        },
        chapters: vec![
            chapter("disk-full", "A disk fills and is cleaned", ChapterState::Seen),
            chapter("muscle", "The muscle wakes for work and sleeps again", ChapterState::Running),
            chapter("smart", "A disk is evacuated on SMART signs", ChapterState::Pending),
        ],
        said: String::new(),
    }
}
