//! The story as data (`labs/classic/demo.yaml`): what goes wrong when, and which journal entries prove that a chapter happened.
//!
//! A chapter counts as seen by the journal alone: the witness reads what the daemon has written, in order, and nothing of the plant.
//! Deliberately absent: making it happen (`stage` does). An editor breaks this by a fact that is true when nothing is done.

use super::screen::{ChapterState, ChapterView};
use homeostat_model::{ActionId, Args, Command, Entry, EntryBody, Event, Outcome, Record, RunEnd, RunMove, Span, Time};
use homeostat_sim::plant::Planned;
use serde::Deserialize;
use std::collections::BTreeMap;

/// More chapters than this are refused.
const CHAPTERS_MAX: usize = 50;

/// The whole story.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// When it begins, in the plant's time, as RFC 3339: load follows the hours of the day.
    pub starts_at: String,
    /// Whether queues get work only from chapters, not by chance.
    #[serde(default)]
    pub quiet_queues: bool,
    /// Parts of `homeostat.yaml` that are set for it.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What its cluster has beside the plant's own things: definitions, Promises, namespaces, as Kubernetes objects.
    #[serde(default)]
    pub objects: Vec<serde_json::Value>,
    /// Its chapters, in the order in which they are shown.
    pub chapters: Vec<Chapter>,
}

/// A chapter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chapter {
    /// Its short name.
    pub name: String,
    /// What happens, in one line.
    pub headline: String,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Planned>,
    /// Work that comes.
    #[serde(default)]
    pub jobs: Vec<Jobs>,
    /// What a person wishes.
    #[serde(default)]
    pub wishes: Vec<Wishes>,
    /// What a person asks in their own words, and confirms when the plan is the expected one.
    #[serde(default)]
    pub asks: Vec<Asks>,
    /// What a person says where nobody sits at a screen.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// What proves that it happened, in this order.
    pub seen: Vec<Fact>,
}

/// Work that comes to a queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// When, from the beginning.
    pub at: Span,
    /// The queue's name.
    pub queue: String,
    /// How many jobs.
    pub count: u32,
}

/// A person's own wish.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wishes {
    /// When, from the beginning.
    pub at: Span,
    /// What.
    pub verb: String,
    /// To what.
    pub target: String,
    /// How.
    #[serde(default)]
    pub args: Args,
    /// Why, in the person's words.
    pub because: String,
}

/// A person's own words, and the plan that they are expected to become.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asks {
    /// When, from the beginning.
    pub at: Span,
    /// The words.
    pub text: String,
    /// The verb of the plan that is confirmed; another plan is not.
    pub verb: String,
    /// Its target.
    pub target: String,
}

/// An answer to a question.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The verb that is asked for.
    pub verb: String,
    /// The target; a `*` at its end stands for anything.
    pub target: String,
    /// How long the question stands before.
    pub after: Span,
    /// Yes or no.
    pub says: Says,
}

/// Yes or no.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// The kind of a journal entry that is waited for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// A proposal was ruled on.
    Ruled,
    /// An action was sent.
    Sent,
    /// The actuator said that it is done.
    Done,
    /// A person said yes.
    Approved,
    /// A person said no.
    Denied,
    /// A claim was judged.
    Judged,
    /// A run of a playbook ended.
    Ended,
}

/// A journal entry that is waited for. What is left out matches anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Its kind.
    pub fact: FactKind,
    /// The policy behind the action.
    #[serde(default)]
    pub policy: Option<String>,
    /// The action's verb.
    #[serde(default)]
    pub verb: Option<String>,
    /// The action's target; a `*` at its end stands for anything.
    #[serde(default)]
    pub target: Option<String>,
    /// The verdict, for `ruled`.
    #[serde(default)]
    pub verdict: Option<String>,
    /// Whether the claim held, for `judged`.
    #[serde(default)]
    pub held: Option<bool>,
    /// In which way the run ended, for `ended`: `finished`, `undone`, `stopped` or `stuck`.
    #[serde(default)]
    pub end: Option<RunEnd>,
}

impl Story {
    /// Reads a story.
    ///
    /// # Errors
    /// What is wrong with the text, or which chapter proves nothing.
    pub fn parse(text: &str) -> Result<Story, String> {
        let story: Story = serde_saphyr::from_str(text).map_err(|error| format!("the story cannot be read: {error}"))?;
        story.start()?;
        if story.chapters.is_empty() || story.chapters.len() > CHAPTERS_MAX {
            return Err(format!("the story has {} chapters, expected 1 to {CHAPTERS_MAX}", story.chapters.len()));
        }
        match story.chapters.iter().find(|chapter| chapter.seen.is_empty()) {
            Some(chapter) => Err(format!("nothing is named that proves the chapter `{}`", chapter.name)),
            None => Ok(story),
        }
    }

    /// When it begins.
    ///
    /// # Errors
    /// `starts_at` is no time.
    pub fn start(&self) -> Result<Time, String> {
        let stamp: Result<jiff::Timestamp, _> = self.starts_at.parse();
        stamp
            .map(|stamp| Time(stamp.as_millisecond()))
            .map_err(|error| format!("`starts_at` is `{}`, expected a time such as 2026-02-03T10:00:00Z: {error}", self.starts_at))
    }

    /// Everything that goes wrong.
    pub fn faults(&self) -> Vec<Planned> {
        self.chapters.iter().flat_map(|chapter| chapter.faults.iter().cloned()).collect()
    }

    /// All work that comes, in order.
    pub fn jobs(&self) -> Vec<Jobs> {
        let mut jobs: Vec<Jobs> = self.chapters.iter().flat_map(|chapter| chapter.jobs.iter().cloned()).collect();
        jobs.sort_by_key(|jobs| jobs.at);
        jobs
    }

    /// All that a person wishes, in order.
    pub fn wishes(&self) -> Vec<Wishes> {
        let mut wishes: Vec<Wishes> = self.chapters.iter().flat_map(|chapter| chapter.wishes.iter().cloned()).collect();
        wishes.sort_by_key(|wish| wish.at);
        wishes
    }

    /// All that a person asks, in order.
    pub fn asks(&self) -> Vec<Asks> {
        let mut asks: Vec<Asks> = self.chapters.iter().flat_map(|chapter| chapter.asks.iter().cloned()).collect();
        asks.sort_by_key(|asks| asks.at);
        asks
    }
}

impl Chapter {
    /// When it begins, from the beginning of the story.
    fn begins(&self) -> Span {
        let faults = self.faults.iter().map(|planned| planned.at);
        faults
            .chain(self.jobs.iter().map(|jobs| jobs.at))
            .chain(self.wishes.iter().map(|wish| wish.at))
            .chain(self.asks.iter().map(|asks| asks.at))
            .min()
            .unwrap_or(Span::ZERO)
    }
}

/// Whether a name is the wished one; a `*` at the wish's end stands for anything.
pub fn fits(wish: &str, is: &str) -> bool {
    wish.strip_suffix('*').map_or(wish == is, |start| is.starts_with(start))
}

/// What is known of an action.
#[derive(Clone, Debug, Default)]
struct Known {
    policy: String,
    verb: String,
    target: String,
}

/// What one journal entry says of an action.
struct Heard {
    kind: FactKind,
    action: ActionId,
    verdict: Option<&'static str>,
    held: Option<bool>,
    end: Option<RunEnd>,
    at: Time,
}

impl Fact {
    fn proven_by(&self, heard: &Heard, known: &Known) -> bool {
        let same = |wish: &Option<String>, is: &str| wish.as_deref().is_none_or(|wish| fits(wish, is));
        self.fact == heard.kind
            && same(&self.policy, &known.policy)
            && same(&self.verb, &known.verb)
            && same(&self.target, &known.target)
            && self.verdict.as_deref().is_none_or(|wish| Some(wish) == heard.verdict)
            && self.held.is_none_or(|wish| Some(wish) == heard.held)
            && self.end.is_none_or(|wish| Some(wish) == heard.end)
    }

    fn text(&self) -> String {
        let what = match (self.fact, &self.verdict, self.held) {
            (FactKind::Ruled, Some(verdict), _) => format!("ruled {verdict}"),
            (FactKind::Ruled, None, _) => "ruled".into(),
            (FactKind::Sent, ..) => "sent".into(),
            (FactKind::Done, ..) => "done".into(),
            (FactKind::Approved, ..) => "approved by a person".into(),
            (FactKind::Denied, ..) => "denied by a person".into(),
            (FactKind::Judged, _, Some(true)) => "claim judged, held".into(),
            (FactKind::Judged, _, Some(false)) => "claim judged, not held".into(),
            (FactKind::Judged, ..) => "claim judged".into(),
            (FactKind::Ended, ..) => self.end.map_or_else(|| "run ended".into(), |end| format!("run {}", end.name())),
        };
        let of = [&self.policy, &self.verb, &self.target].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        format!("{what}: {of}")
    }
}

/// Reads the journal and ticks off what it proves.
pub struct Witness {
    began: Time,
    chapters: Vec<(Chapter, usize)>,
    known: BTreeMap<ActionId, Known>,
}

impl Witness {
    /// A witness of a story that begins at `began`.
    pub fn new(story: &Story, began: Time) -> Witness {
        Witness { began, chapters: story.chapters.iter().map(|chapter| (chapter.clone(), 0)).collect(), known: BTreeMap::new() }
    }

    /// Takes in the next journal entry.
    pub fn hear(&mut self, entry: &Entry) {
        let Some(heard) = self.understand(entry) else { return };
        let known = self.known.entry(heard.action).or_default();
        for (chapter, proven) in &mut self.chapters {
            let begun = heard.at >= self.began + chapter.begins();
            if begun && chapter.seen.get(*proven).is_some_and(|fact| fact.proven_by(&heard, known)) {
                *proven += 1;
            }
        }
    }

    fn understand(&mut self, entry: &Entry) -> Option<Heard> {
        let at = entry.at;
        let plain = |kind, action| Heard { kind, action, verdict: None, held: None, end: None, at };
        let heard = |kind, action| Some(plain(kind, action));
        match &entry.body {
            EntryBody::Effect(Record::Ruled { action, proposal, ruling, .. }) => {
                let policy = proposal.origin.policy().map_or_else(String::new, ToString::to_string);
                let known = Known { policy, verb: proposal.verb.to_string(), target: proposal.target.to_string() };
                self.known.insert(*action, known);
                Some(Heard { verdict: Some(ruling.verdict.name()), ..plain(FactKind::Ruled, *action) })
            }
            EntryBody::Effect(Record::Act { action, .. }) => heard(FactKind::Sent, action.id),
            EntryBody::Effect(Record::Judged { action, judgement }) => {
                Some(Heard { held: judgement.held, ..plain(FactKind::Judged, *action) })
            }
            EntryBody::Effect(Record::Run { run, step: RunMove::Ended { end, .. } }) => {
                Some(Heard { end: Some(*end), ..plain(FactKind::Ended, *run) })
            }
            EntryBody::Event(Event::Settled(action, Outcome::Done(_))) => heard(FactKind::Done, *action),
            EntryBody::Event(Event::Ordered(ordered)) => match &ordered.command {
                Command::Approve { action, .. } => heard(FactKind::Approved, *action),
                Command::Deny { action } => heard(FactKind::Denied, *action),
                _ => None,
            },
            _ => None,
        }
    }

    /// How far the chapters are at this moment of the plant.
    pub fn chapters(&self, now: Time) -> Vec<ChapterView> {
        let view = |(chapter, proven): &(Chapter, usize)| {
            let missing = chapter.seen.get(*proven);
            let state = match missing {
                None => ChapterState::Seen,
                Some(_) if now >= self.began + chapter.begins() => ChapterState::Running,
                Some(_) => ChapterState::Pending,
            };
            let detail = missing.map_or_else(String::new, |fact| format!("waits for: {}", fact.text()));
            ChapterView { name: chapter.name.clone(), headline: chapter.headline.clone(), state, detail }
        };
        self.chapters.iter().map(view).collect()
    }

    /// Whether every chapter was seen.
    pub fn all_seen(&self) -> bool {
        self.chapters.iter().all(|(chapter, proven)| *proven >= chapter.seen.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_model::{Autonomy, Judgement, Ordered, Origin, Proposal, Ruling, Verdict};

    const TEXT: &str = r#"
starts_at: "2026-02-03T10:00:00Z"
chapters:
  - name: one
    headline: Something breaks and is mended
    faults: [{ at: 1m, fault: { hang: { node: nas } } }]
    seen:
      - { fact: ruled, policy: p, target: "node/n*", verdict: awaiting_approval }
      - { fact: approved, policy: p }
      - { fact: judged, target: node/nas, held: true }
"#;

    fn entry(at: Time, body: EntryBody) -> Entry {
        Entry { seq: 0, at, body }
    }

    fn ruled(action: u64, target: &str, verdict: Verdict) -> EntryBody {
        let proposal = Box::new(Proposal {
            origin: Origin::Policy("p".into()),
            symptom: "s".into(),
            verb: "http.x".into(),
            target: target.into(),
            args: Default::default(),
            because: "b".into(),
            evidence: Vec::new(),
            claim: None,
            cooldown: Span::ZERO,
            settle: None,
            autonomy: Autonomy::Auto,
            alternatives: Vec::new(),
        });
        let ruling = Ruling { verdict, reasons: Vec::new() };
        EntryBody::Effect(Record::Ruled { action: ActionId(action), proposal, ruling, plan: "h".into() })
    }

    fn judged(action: u64, held: Option<bool>) -> EntryBody {
        let judgement = Judgement { held, evidence: Vec::new(), text: String::new() };
        EntryBody::Effect(Record::Judged { action: ActionId(action), judgement })
    }

    fn approved(action: u64) -> EntryBody {
        let command = Command::Approve { action: ActionId(action), plan: None };
        EntryBody::Event(Event::Ordered(Ordered { by: "demo".into(), command }))
    }

    #[test]
    fn a_chapter_is_seen_when_its_facts_stand_in_the_journal_in_order() {
        let story = Story::parse(TEXT).unwrap();
        let began = story.start().unwrap();
        let late = began + Span::from_mins(2);
        let asks = Verdict::AwaitingApproval { by: late };
        let mut witness = Witness::new(&story, began);
        let state = |witness: &Witness, at| witness.chapters(at)[0].state;
        assert_eq!(state(&witness, began), ChapterState::Pending);
        assert_eq!(state(&witness, late), ChapterState::Running);
        // Too early, another verdict, another target, the wrong order: none of it counts.
        for body in [ruled(1, "node/nas", asks), approved(1), judged(1, Some(true))] {
            witness.hear(&entry(began, body));
        }
        for body in [ruled(2, "node/nas", Verdict::Denied), ruled(3, "disk/nas", asks), approved(2), judged(2, Some(true))] {
            witness.hear(&entry(late, body));
        }
        assert_eq!(witness.chapters(late)[0].detail, "waits for: ruled awaiting_approval: p node/n*");
        witness.hear(&entry(late, ruled(4, "node/nas", asks)));
        witness.hear(&entry(late, approved(4)));
        witness.hear(&entry(late, judged(4, Some(false))));
        witness.hear(&entry(late, judged(4, None)));
        assert_eq!(witness.chapters(late)[0].detail, "waits for: claim judged, held: node/nas");
        assert!(!witness.all_seen());
        witness.hear(&entry(late, judged(4, Some(true))));
        assert!(witness.all_seen());
        assert_eq!((state(&witness, late), witness.chapters(late)[0].detail.as_str()), (ChapterState::Seen, ""));
    }

    #[test]
    fn a_run_counts_by_the_way_in_which_it_ended_and_wishes_come_in_order() {
        let wish = |at: &str| format!("{{ at: {at}, verb: playbook.drill, target: node/nas, because: b }}");
        let facts = "    seen:\n      - { fact: ended, policy: p, target: node/nas, end: undone }\n";
        let head = "starts_at: \"2026-02-03T10:00:00Z\"\nchapters:\n  - name: one\n    headline: h\n";
        let story = Story::parse(&format!("{head}    wishes: [{}, {}]\n{facts}", wish("9m"), wish("1m"))).unwrap();
        let began = story.start().unwrap();
        assert_eq!(story.wishes().iter().map(|wish| wish.at).collect::<Vec<_>>(), [Span::from_mins(1), Span::from_mins(9)]);
        let late = began + Span::from_mins(2);
        let ended = |run: u64, end| {
            let step = RunMove::Ended { end, why: "w".into() };
            EntryBody::Effect(Record::Run { run: ActionId(run), step })
        };
        let mut witness = Witness::new(&story, began);
        assert_eq!(witness.chapters(late)[0].detail, "waits for: run undone: p node/nas");
        for body in [ruled(1, "node/nas", Verdict::Admitted), ended(1, RunEnd::Finished), ended(2, RunEnd::Undone)] {
            witness.hear(&entry(late, body));
        }
        assert!(!witness.all_seen());
        witness.hear(&entry(late, ended(1, RunEnd::Undone)));
        assert!(witness.all_seen());
    }

    #[test]
    fn a_story_that_proves_nothing_is_refused() {
        let without = TEXT.split("    seen:").next().unwrap().to_owned() + "    seen: []\n";
        assert!(Story::parse(&without).unwrap_err().contains("`one`"));
        assert!(Story::parse(&TEXT.replace("2026-02-03T10:00:00Z", "noon")).unwrap_err().contains("`noon`"));
        assert!(Story::parse(&TEXT.replace("fact: approved", "fact: applauded")).is_err());
        assert!(Story::parse("starts_at: \"2026-02-03T10:00:00Z\"\nchapters: []").is_err());
    }
}
