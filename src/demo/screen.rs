//! What the demo shows, as plain data: the loop, the plant, the proposals, the chapters. A view draws it, lines print what changed in
//! it; both know nothing else.
//!
//! Deliberately absent: where it comes from (`stage` fills it), colours, text positions. An editor breaks this by putting something
//! in that only the plant can know and the loop acted on: people would take the plant's truth for what the daemon saw.

use crate::http::view::{ActionLine, HandsOffLine, actions, approvals};
use homeostat_kernel::Kernel;
use homeostat_model::Time;
use serde::Serialize;

/// Actions that are shown at most.
pub const ACTIONS_SHOWN: usize = 100;

/// A node of the plant.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `on`, `asleep`, `starting`, `suspending`, `off`, `unpowered`, `hung`.
    pub state: String,
    /// What it draws.
    pub watts: f64,
    /// Its temperature in °C.
    pub celsius: f64,
    /// The used share of its processors, 0 to 1.
    pub cpu_ratio: f64,
}

/// A service of the plant.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub up: bool,
    /// The time of a request.
    pub latency_seconds: f64,
    /// Replicas that serve.
    pub ready: usize,
    /// Replicas there should be.
    pub replicas: usize,
}

/// The plant as its owner would see it when walking around; the daemon sees only what sensors tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlantView {
    /// Nodes, in the lab file's order.
    pub nodes: Vec<NodeView>,
    /// Services, in the lab file's order.
    pub services: Vec<ServiceView>,
    /// What is wrong just now, in words: `runaway-log filesystem/nas:/srv`.
    pub faults: Vec<String>,
    /// Energy used since the beginning.
    pub joules: f64,
    /// Energy that the same lab would have used without sleep.
    pub joules_always_on: f64,
}

impl PlantView {
    /// Energy saved, in joules; negative where the loop has cost some.
    pub fn joules_saved(&self) -> f64 {
        self.joules_always_on - self.joules
    }
}

/// The stages of the loop, in its order; each counts what has passed through it since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stages {
    /// Sensor reads.
    pub sense: u64,
    /// Samples kept.
    pub store: u64,
    /// Policy evaluations.
    pub analyse: u64,
    /// Proposals.
    pub propose: u64,
    /// Rulings.
    pub rule: u64,
    /// Actions sent, each attempt.
    pub act: u64,
    /// Claims judged.
    pub judge: u64,
    /// Of these, held.
    pub held: u64,
    /// Of these, not held.
    pub failed: u64,
}

impl Stages {
    /// The stages with their names, in the loop's order.
    pub fn in_order(&self) -> [(&'static str, u64); 7] {
        [
            ("sense", self.sense),
            ("store", self.store),
            ("analyse", self.analyse),
            ("propose", self.propose),
            ("rule", self.rule),
            ("act", self.act),
            ("judge", self.judge),
        ]
    }
}

/// What the loop is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoopView {
    /// Why nothing is sent, if so.
    pub hands_off: Option<HandsOffLine>,
    /// The stages.
    pub stages: Stages,
    /// Actions, the last moved first.
    pub actions: Vec<ActionLine>,
    /// Actions that wait for a person, the most urgent first.
    pub approvals: Vec<ActionLine>,
}

impl LoopView {
    /// From the kernel.
    pub fn of(kernel: &Kernel) -> LoopView {
        let (stats, ledger) = (kernel.stats(), kernel.ledger());
        let claims = |name: &str| stats.claims.get(name).copied().unwrap_or(0);
        LoopView {
            hands_off: ledger.hands_off().map(|h| HandsOffLine { since: h.since, by: h.by.clone(), reason: h.reason.clone() }),
            stages: Stages {
                sense: stats.observations,
                store: stats.samples,
                analyse: stats.evaluations,
                propose: ledger.next_action().0 - 1,
                rule: stats.rulings.values().sum(),
                act: stats.acts,
                judge: stats.claims.values().sum(),
                held: claims("held"),
                failed: claims("failed"),
            },
            actions: actions(ledger, ACTIONS_SHOWN),
            approvals: approvals(ledger),
        }
    }
}

/// How far a chapter of the story is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChapterState {
    /// It has not begun.
    #[default]
    Pending,
    /// It is under way.
    Running,
    /// Everything that proves it stands in the journal.
    Seen,
}

impl ChapterState {
    /// The name that people and scripts read.
    pub fn name(self) -> &'static str {
        match self {
            ChapterState::Pending => "pending",
            ChapterState::Running => "running",
            ChapterState::Seen => "seen",
        }
    }
}

/// A chapter of the story.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChapterView {
    /// Its short name.
    pub name: String,
    /// What happens in it, in one line.
    pub headline: String,
    /// How far it is.
    pub state: ChapterState,
    /// The last thing that was seen of it, or what is still missing.
    pub detail: String,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Screen {
    /// The plant's time, which is the daemon's.
    pub now: Time,
    /// When it began.
    pub began: Time,
    /// Seconds of the plant's time per real second.
    pub speed: f64,
    /// Real seconds that are left; `None`: until somebody ends it.
    pub left_seconds: Option<u64>,
    /// Where the daemon's pages are.
    pub address: String,
    /// The loop.
    pub looping: LoopView,
    /// The plant.
    pub plant: PlantView,
    /// The story.
    pub chapters: Vec<ChapterView>,
    /// The answer to the last key or the last thing that the demo itself did.
    pub said: String,
}

impl Screen {
    /// What can be selected: first what waits for a person, then every other action, by number.
    pub fn selectable(&self) -> Vec<&ActionLine> {
        let waits = |line: &ActionLine| self.looping.approvals.iter().any(|waiting| waiting.id == line.id);
        self.looping.approvals.iter().chain(self.looping.actions.iter().filter(|line| !waits(line))).collect()
    }
}

/// Where an action stands, in the fewest words: phase, and what became of its claim.
pub fn standing(line: &ActionLine) -> String {
    let phase = match line.phase.as_str() {
        "awaiting_approval" => "asks you",
        "in_flight" => "sent",
        "probing" => "asked after",
        "not_done" => "not done",
        other => other,
    };
    match line.judged.as_deref() {
        Some("held") => format!("{phase}, helped"),
        Some("failed") => format!("{phase}, did not help"),
        Some(_) => format!("{phase}, nobody saw"),
        None if line.phase == "done" && line.claim.is_some() => format!("{phase}, watching"),
        None => phase.into(),
    }
}

/// Why it stands there: the guard's reason where one decided, else the author's words.
pub fn reason(line: &ActionLine) -> &str {
    match (&line.decided_by, line.phase.as_str()) {
        (Some(decided), "denied" | "deferred" | "shadowed") => decided,
        _ => &line.because,
    }
}

/// Joules as people read them.
pub fn energy(joules: f64) -> String {
    let hours = joules / 3_600.0;
    if hours.abs() >= 1000.0 { format!("{:.2} kWh", hours / 1000.0) } else { format!("{hours:.1} Wh") }
}

/// A length in seconds as `m:ss` or `h:mm:ss`.
pub fn countdown(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
