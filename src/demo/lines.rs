//! The demo without a screen: one line per change, for people or, with `--json`, one JSON object per line and a summary at the end.
//!
//! What has changed is found by comparing two screens, so the lines tell what the screen would have shown. Deliberately absent: where
//! they are printed to. An editor breaks this by renaming a JSON field: scripts read them.

use super::screen::{ChapterState, ChapterView, PlantView, Screen, energy, reason, standing};
use crate::http::view::{ActionLine, moment};
use homeostat_model::Time;
use serde::Serialize;
use std::collections::BTreeMap;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// When, in the plant's time.
    #[serde(rename = "at_ms")]
    pub at: Time,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A chapter begins or was seen.
    Chapter {
        /// Its name.
        name: String,
        /// What happens in it.
        headline: String,
        /// `running` or `seen`.
        state: ChapterState,
    },
    /// Something broke or is mended.
    Fault {
        /// What.
        fault: String,
        /// Whether it began.
        began: bool,
    },
    /// A node changed its state.
    Node {
        /// Its name.
        node: String,
        /// Its state now.
        state: String,
    },
    /// A service came or went.
    Service {
        /// Its name.
        service: String,
        /// Whether it answers.
        up: bool,
    },
    /// An action was ruled on, sent, answered, judged.
    Action {
        /// Its number.
        id: String,
        /// What.
        verb: String,
        /// To what.
        target: String,
        /// Where it stands, in words.
        standing: String,
        /// Its phase, as the API names it.
        phase: String,
        /// Whether its claim held: `held`, `failed`, `undetermined`; nothing before it was judged.
        judged: Option<String>,
        /// Why it stands there.
        reason: String,
    },
    /// Hands-off began or ended.
    HandsOff {
        /// Why; empty: it ended.
        reason: String,
    },
    /// The demo says something, for instance that it has answered a question.
    Said {
        /// What.
        text: String,
    },
}

/// The end of the story.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Always `summary`.
    pub kind: &'static str,
    /// Whether every chapter was seen.
    pub all_seen: bool,
    /// The chapters.
    pub chapters: Vec<Told>,
    /// Actions sent, each attempt.
    pub acts: u64,
    /// Claims that held.
    pub claims_held: u64,
    /// Claims that did not hold.
    pub claims_failed: u64,
    /// Energy used, in joules.
    pub joules: f64,
    /// Energy that the same lab would have used without sleep, in joules.
    pub joules_always_on: f64,
    /// How long it ran, in seconds of the plant's time.
    pub plant_seconds: f64,
}

/// A chapter in the summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// What happens in it.
    pub headline: String,
    /// Whether it was seen.
    pub seen: bool,
    /// The last thing that was seen of it, or what is missing.
    pub detail: String,
}

impl Change {
    /// As people read it.
    pub fn text(&self) -> String {
        let what = match &self.what {
            What::Chapter { headline, state: ChapterState::Seen, .. } => format!("chapter   SEEN: {headline}"),
            What::Chapter { headline, .. } => format!("chapter   {headline}"),
            What::Fault { fault, began: true } => format!("breaks    {fault}"),
            What::Fault { fault, began: false } => format!("mended    {fault}"),
            What::Node { node, state } => format!("node      {node} is {state}"),
            What::Service { service, up } => format!("service   {service} is {}", if *up { "up" } else { "down" }),
            What::Action { id, verb, target, standing, reason, .. } => format!("{id:<9} {verb} {target}: {standing} ({reason})"),
            What::HandsOff { reason } if reason.is_empty() => "hands-off is over".into(),
            What::HandsOff { reason } => format!("HANDS-OFF {reason}"),
            What::Said { text } => format!("demo      {text}"),
        };
        let what: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{}  {what}", moment(self.at))
    }
}

/// What is different in `now`, in the order in which people want to read it.
pub fn changes(before: &Screen, now: &Screen) -> Vec<Change> {
    let mut found = Vec::new();
    faults(&before.plant, &now.plant, &mut found);
    things(&before.plant, &now.plant, &mut found);
    actions(before, now, &mut found);
    chapters(&before.chapters, &now.chapters, &mut found);
    let paused = |screen: &Screen| screen.looping.hands_off.as_ref().map(|hands_off| hands_off.reason.clone());
    if paused(before) != paused(now) {
        found.push(What::HandsOff { reason: paused(now).unwrap_or_default() });
    }
    if before.said != now.said && !now.said.is_empty() {
        found.push(What::Said { text: now.said.clone() });
    }
    found.into_iter().map(|what| Change { at: now.now, what }).collect()
}

fn faults(before: &PlantView, now: &PlantView, found: &mut Vec<What>) {
    let only = |a: &PlantView, b: &PlantView| a.faults.iter().filter(|fault| !b.faults.contains(fault)).cloned().collect::<Vec<_>>();
    found.extend(only(now, before).into_iter().map(|fault| What::Fault { fault, began: true }));
    found.extend(only(before, now).into_iter().map(|fault| What::Fault { fault, began: false }));
}

fn things(before: &PlantView, now: &PlantView, found: &mut Vec<What>) {
    for node in &now.nodes {
        if before.nodes.iter().find(|old| old.name == node.name).is_some_and(|old| old.state != node.state) {
            found.push(What::Node { node: node.name.clone(), state: node.state.clone() });
        }
    }
    for service in &now.services {
        if before.services.iter().find(|old| old.name == service.name).is_some_and(|old| old.up != service.up) {
            found.push(What::Service { service: service.name.clone(), up: service.up });
        }
    }
}

fn actions(before: &Screen, now: &Screen, found: &mut Vec<What>) {
    let old: BTreeMap<&str, &ActionLine> = before.looping.actions.iter().map(|line| (line.id.as_str(), line)).collect();
    // The screen has the newest first; lines are read from the top.
    for line in now.looping.actions.iter().rev() {
        let moved = old.get(line.id.as_str()).is_none_or(|old| (&old.phase, &old.judged) != (&line.phase, &line.judged));
        if moved {
            found.push(What::Action {
                id: line.id.clone(),
                verb: line.verb.clone(),
                target: line.target.clone(),
                standing: standing(line),
                phase: line.phase.clone(),
                judged: line.judged.clone(),
                reason: outcome(line),
            });
        }
    }
}

/// Why an action stands where it stands: what the actuator said once it has spoken.
fn outcome(line: &ActionLine) -> String {
    match (&line.outcome, line.phase.as_str()) {
        (Some(outcome), "done" | "not_done" | "probing") => outcome.clone(),
        _ => reason(line).to_owned(),
    }
}

fn chapters(before: &[ChapterView], now: &[ChapterView], found: &mut Vec<What>) {
    for chapter in now {
        let old = before.iter().find(|old| old.name == chapter.name).map_or(ChapterState::Pending, |old| old.state);
        if old != chapter.state {
            found.push(What::Chapter { name: chapter.name.clone(), headline: chapter.headline.clone(), state: chapter.state });
        }
    }
}

impl Summary {
    /// Of the last screen.
    pub fn of(screen: &Screen) -> Summary {
        let told = |chapter: &ChapterView| Told {
            name: chapter.name.clone(),
            headline: chapter.headline.clone(),
            seen: chapter.state == ChapterState::Seen,
            detail: chapter.detail.clone(),
        };
        let (stages, plant) = (&screen.looping.stages, &screen.plant);
        let chapters: Vec<Told> = screen.chapters.iter().map(told).collect();
        Summary {
            kind: "summary",
            all_seen: !chapters.is_empty() && chapters.iter().all(|chapter| chapter.seen),
            chapters,
            acts: stages.act,
            claims_held: stages.held,
            claims_failed: stages.failed,
            joules: plant.joules,
            joules_always_on: plant.joules_always_on,
            plant_seconds: screen.now.since(screen.began).seconds(),
        }
    }

    /// As people read it.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for chapter in &self.chapters {
            let detail = if chapter.detail.is_empty() { String::new() } else { format!(" ({})", chapter.detail) };
            lines.push(format!("  {}  {}{detail}", if chapter.seen { "seen    " } else { "NOT SEEN" }, chapter.headline));
        }
        lines.push(format!(
            "  {} actions sent; {} claims held, {} did not; {} saved of {}",
            self.acts,
            self.claims_held,
            self.claims_failed,
            energy(self.joules_always_on - self.joules),
            energy(self.joules_always_on)
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::screen::samples::{action, screen};

    #[test]
    fn what_changed_is_told_once_and_oldest_first() {
        let before = screen();
        assert_eq!(changes(&before, &before), []);
        let mut now = before.clone();
        now.plant.faults = vec!["crash-loop service/photos".into(), "disk-fails disk/nas:sdb".into()];
        now.plant.nodes[5].state = "on".into();
        now.plant.services[1].up = true;
        now.looping.actions[5] =
            ActionLine { outcome: Some("done: tcp answered".into()), ..action(3, "power.wake", "node/muscle", "done") };
        now.looping.actions.insert(0, action(9, "http.clean", "filesystem/nas:/srv", "admitted"));
        now.chapters[1].state = ChapterState::Seen;
        now.said = "demo approved a7\u{1b}[2J".into();
        let told: Vec<String> = changes(&before, &now).iter().map(|change| change.text().split_off(21)).collect();
        assert_eq!(
            told,
            [
                "breaks    disk-fails disk/nas:sdb",
                "mended    runaway-log filesystem/nas:/srv",
                "node      muscle is on",
                "service   photos is up",
                "a3        power.wake node/muscle: done (done: tcp answered)",
                "a9        http.clean filesystem/nas:/srv: admitted (filesystem/nas:/srv needs it)",
                "chapter   SEEN: The muscle wakes for work and sleeps again",
                "demo      demo approved a7 [2J",
            ]
        );
        let mut paused = now.clone();
        paused.looping.hands_off = Some(crate::http::view::HandsOffLine { since: now.now, by: "demo".into(), reason: "why".into() });
        assert_eq!(changes(&now, &paused)[0].what, What::HandsOff { reason: "why".into() });
        assert_eq!(changes(&paused, &now)[0].what, What::HandsOff { reason: String::new() });
    }

    #[test]
    fn a_line_of_json_has_a_kind_and_the_summary_lists_each_chapter() {
        let (before, mut now) = (Screen::default(), screen());
        now.said = "hello".into();
        for change in changes(&before, &now) {
            let json = serde_json::to_value(&change).unwrap();
            assert!(json["kind"].is_string() && json["at_ms"].is_i64(), "{json}");
        }
        let summary = serde_json::to_value(Summary::of(&now)).unwrap();
        assert_eq!(summary["kind"], "summary");
        assert_eq!(summary["all_seen"], false);
        let seen: Vec<_> = summary["chapters"].as_array().unwrap().iter().map(|c| (c["name"].clone(), c["seen"].clone())).collect();
        assert_eq!(seen, [("disk-full".into(), true.into()), ("muscle".into(), false.into()), ("smart".into(), false.into())]);
        now.chapters.iter_mut().for_each(|chapter| chapter.state = ChapterState::Seen);
        assert!(Summary::of(&now).all_seen);
        assert!(!Summary::of(&Screen::default()).all_seen, "no story is no success");
        assert!(Summary::of(&now).text().contains("seen      A disk fills and is cleaned"));
    }
}
