//! `notify.send`: tells people, over one or several channels.
//!
//! Config and the actuator are here; [`wire`] knows the services, [`channel`] delivers over one of them. Every channel's end is
//! noted apart, so that a repeated `apply` sends only what surely did not arrive. A message repeated within the window is not sent
//! again. Deliberately absent: reading answers and button presses; formatting (texts are tainted, so mentions and markup are off).
//! An editor breaks this by calling it done while one channel is missing.

mod channel;
#[cfg(test)]
mod tests;
pub mod wire;

use crate::args::{check_against, unknown_verb};
use crate::client::{self, Patience};
use crate::ledger::{Begin, Ledger, Mark, Started, doing, never_started, not_revertible, time_allowed};
use crate::template::is_verb_part;
use channel::{Channel, Delivery};
use homeostat_model::{
    Action, ActionId, Actuator, ActuatorSpec, Arg, ArgKind, ArgSpec, BoxFuture, Class, Fault, FaultCode, Notice, NoticeKind, Outcome,
    Planned, Receipt, Span, Time, VerbSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
pub use wire::{ChannelConfig, ChatId};
use wire::{Message, Priority};

/// The channel that always exists: the daemon's own log.
pub const LOG: &str = "log";
/// One attempt takes at most this.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// An announcement takes at most this.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest title and text an action may carry; each service cuts shorter.
const TITLE_BYTES_MAX: usize = 500;
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// The channels, by name. `log` exists without being named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, ChannelConfig>,
    /// The channels of a message that names none; empty: all that are configured, or `log` if none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default: Vec<String>,
    /// The same message (or the same `dedup_key`) is not sent twice over a channel within this.
    #[serde(default = "dedup_window_default")]
    #[schemars(with = "String")]
    pub dedup_window: Span,
    /// How long all attempts together may take.
    #[serde(default = "timeout_default")]
    #[schemars(with = "String")]
    pub timeout: Span,
    /// How often a channel is tried at most.
    #[serde(default = "attempts_default")]
    pub attempts: u32,
    /// The first wait between two attempts; it doubles, with jitter. What a service asks for is waited, up to a minute.
    #[serde(default = "backoff_default")]
    #[schemars(with = "String")]
    pub backoff: Span,
}

fn dedup_window_default() -> Span {
    Span::from_secs(60)
}
fn timeout_default() -> Span {
    Span::from_secs(60)
}
fn attempts_default() -> u32 {
    4
}
fn backoff_default() -> Span {
    Span::from_secs(1)
}

impl Default for NotifyConfig {
    fn default() -> NotifyConfig {
        NotifyConfig {
            channels: BTreeMap::new(),
            default: Vec::new(),
            dedup_window: dedup_window_default(),
            timeout: timeout_default(),
            attempts: attempts_default(),
            backoff: backoff_default(),
        }
    }
}

/// The actuator `notify`.
#[derive(Debug)]
pub struct Notify {
    channels: BTreeMap<String, Arc<Channel>>,
    default: Vec<String>,
    spec: VerbSpec,
    attempts: u32,
    backoff: Duration,
    ledger: Arc<Ledger>,
    client: reqwest::Client,
    in_flight: Mutex<BTreeSet<ActionId>>,
    announcements_lost: AtomicU64,
}

impl Notify {
    /// Checks the configuration and builds; connects nowhere. Every problem is listed.
    pub fn new(config: &NotifyConfig, ledger: Arc<Ledger>) -> Result<Notify, Vec<Fault>> {
        let client = client::client().map_err(|fault| vec![fault])?;
        let mut problems = Vec::new();
        let mut channels = BTreeMap::new();
        let log = (LOG.to_owned(), ChannelConfig::Log {});
        let built_in = (!config.channels.contains_key(LOG)).then_some((&log.0, &log.1));
        for (name, channel) in config.channels.iter().chain(built_in) {
            if !is_verb_part(name) {
                problems.push(format!("channel `{name}`: expected letters, digits, `-` and `_`, at most 64"));
            }
            match Channel::new(name, channel, config.dedup_window) {
                Ok(channel) => drop(channels.insert(name.clone(), Arc::new(channel))),
                Err(problem) => problems.push(format!("channel `{name}`: {problem}")),
            }
        }
        for name in config.default.iter().filter(|name| !channels.contains_key(*name)) {
            let known = channels.keys().cloned().collect::<Vec<_>>().join(", ");
            problems.push(format!("`default` names `{name}`, which is no channel (there are: {known})"));
        }
        if config.timeout <= Span::ZERO || config.timeout > Span::from_hours(1) {
            problems.push(format!("`timeout` is {}, expected more than 0s and at most 1h", config.timeout));
        }
        if !(1..=20).contains(&config.attempts) {
            problems.push(format!("`attempts` is {}, expected 1 to 20", config.attempts));
        }
        if !problems.is_empty() {
            return Err(problems.into_iter().map(|text| Fault::new(FaultCode::Malformed, "configure `notify`", text)).collect());
        }
        let default = match (config.default.is_empty(), config.channels.is_empty()) {
            (false, _) => config.default.clone(),
            (true, false) => config.channels.keys().cloned().collect(),
            (true, true) => vec![LOG.to_owned()],
        };
        Ok(Notify {
            spec: send_spec(&channels, config.timeout),
            channels,
            default,
            attempts: config.attempts,
            backoff: config.backoff.to_std(),
            ledger,
            client,
            in_flight: Mutex::default(),
            announcements_lost: AtomicU64::new(0),
        })
    }

    /// Tells people something about Homeostat itself, over the default channels. Never fails the caller: what no channel took is
    /// written to the log and counted. Takes at most 30 s; spawn it.
    pub async fn announce(&self, notice: &Notice) {
        let message = Arc::new(Message {
            title: notice.title.clone(),
            text: notice.text.clone(),
            priority: match notice.kind {
                NoticeKind::Approval | NoticeKind::HandsOff => Priority::High,
                NoticeKind::Trouble | NoticeKind::Autonomy => Priority::Default,
            },
            target: String::new(),
            action: notice.action.map(|id| id.to_string()).unwrap_or_default(),
            dedup_key: None,
        });
        let patience = self.patience(ANNOUNCE_TIMEOUT);
        let mut tasks = JoinSet::new();
        for name in &self.default {
            tasks.spawn(self.channels[name].clone().deliver(self.client.clone(), message.clone(), patience));
        }
        let mut taken = false;
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(Delivery::Delivered(_)) => taken = true,
                Ok(Delivery::Refused(fault) | Delivery::Unknown(fault)) => tracing::warn!(%fault, "An announcement was not delivered."),
                Err(error) => tracing::warn!(%error, "An announcement was not delivered."),
            }
        }
        if !taken {
            self.announcements_lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(title = message.title, text = message.text, "No channel took an announcement.");
        }
    }

    /// How many announcements no channel took, since the start.
    pub fn announcements_lost(&self) -> u64 {
        self.announcements_lost.load(Ordering::Relaxed)
    }

    fn patience(&self, allowed: Duration) -> Patience {
        let (attempts, backoff) = (self.attempts, self.backoff);
        Patience { deadline: Instant::now() + allowed, attempts, backoff, attempt_timeout: ATTEMPT_TIMEOUT }
    }

    /// The message and its channels' names, everything checked.
    fn prepare(&self, action: &Action) -> Result<(Message, Vec<String>), Fault> {
        if action.verb != self.spec.verb {
            return Err(unknown_verb(action, std::iter::once(&self.spec)));
        }
        check_against(&self.spec, action)?;
        let text = |name: &str| action.args.get(name).and_then(Arg::as_text);
        let message = Message {
            title: text("title").unwrap_or_default().to_owned(),
            text: text("text").unwrap_or(&action.because).to_owned(),
            priority: text("priority").and_then(Priority::from_name).unwrap_or_default(),
            target: action.target.to_string(),
            action: action.id.to_string(),
            dedup_key: text("dedup_key").map(str::to_owned),
        };
        let channels = text("channel").map_or_else(|| self.default.clone(), |name| vec![name.to_owned()]);
        Ok((message, channels))
    }

    async fn send(&self, now: Time, action: &Action) -> Outcome {
        let mark = Mark::Apply(action.id);
        let doing = doing(mark, action);
        let (message, names) = match self.prepare(action) {
            Ok(prepared) => prepared,
            Err(fault) => return never_started(doing, fault.detail),
        };
        let Some(_flight) = Flight::board(&self.in_flight, action.id) else {
            return Outcome::Unknown(Fault::new(FaultCode::Conflict, doing, "it is being sent right now"));
        };
        let known = match self.admit(now, action, mark) {
            Ok(started) => ends_of(&started),
            Err(answer) => return answer,
        };
        let outcome = self.deliver(message, names, known, action, mark, &doing).await;
        self.ledger.settle(mark, outcome)
    }

    /// As [`Ledger::admit`], but an end that was not `Done` is taken up again, for the channels that surely got nothing.
    fn admit(&self, now: Time, action: &Action, mark: Mark) -> Result<Started, Outcome> {
        let stored = match self.ledger.look(mark) {
            Ok(Begin::Fresh) => return self.ledger.admit(now, action, mark).map(|()| Started::default()),
            Ok(Begin::Finished(outcome @ Outcome::Done(_))) => return Err(outcome),
            Ok(Begin::Finished(outcome)) => Some(outcome),
            Ok(Begin::Started(_)) => None,
            Err(fault) => return Err(Outcome::Unknown(fault)),
        };
        if now > action.lease.expires {
            let fault =
                || Fault::new(FaultCode::Conflict, doing(mark, action), "it was begun; its end was not seen, and its lease is over");
            return Err(stored.unwrap_or_else(|| Outcome::Unknown(fault())));
        }
        self.ledger.started(mark).map(Option::unwrap_or_default).map_err(Outcome::Unknown)
    }

    /// Sends over the channels that are not known to have it, all at once.
    async fn deliver(
        &self,
        message: Message,
        names: Vec<String>,
        mut ends: BTreeMap<String, End>,
        action: &Action,
        mark: Mark,
        doing: &str,
    ) -> Outcome {
        let message = Arc::new(message);
        let patience = self.patience(time_allowed(action, self.spec.timeout));
        let mut tasks = JoinSet::new();
        for name in &names {
            if matches!(ends.get(name), Some(End::Delivered | End::Sending)) {
                continue;
            }
            if let Err(fault) = self.ledger.note(mark, name, End::Sending.note()) {
                tracing::warn!(%mark, %fault, "A channel's send was not noted.");
            }
            let delivery = self.channels[name].clone().deliver(self.client.clone(), message.clone(), patience);
            ends.insert(name.clone(), End::Sending); // a task that panics leaves it so: unknown
            let name = name.clone();
            tasks.spawn(async move { (name, delivery.await) });
        }
        let mut told: BTreeMap<String, Delivery> = BTreeMap::new();
        while let Some(joined) = tasks.join_next().await {
            let Ok((name, delivery)) = joined else { continue };
            let end = End::of(&delivery);
            if let Err(fault) = self.ledger.note(mark, &name, end.note()) {
                tracing::warn!(%mark, %fault, "A channel's end was not noted.");
            }
            ends.insert(name.clone(), end);
            told.insert(name, delivery);
        }
        combined(&names, &ends, &told, doing)
    }

    fn look(&self, action: &Action) -> Outcome {
        let doing = format!("probe {} {} on {}", action.id, action.verb, action.target);
        match self.ledger.look(Mark::Apply(action.id)) {
            Ok(Begin::Fresh) => never_started(doing, "it was never started here"),
            Ok(Begin::Finished(outcome)) => outcome,
            Ok(Begin::Started(started)) => match self.prepare(action) {
                Ok((_, names)) => combined(&names, &ends_of(&started), &BTreeMap::new(), &doing),
                Err(fault) => Outcome::Unknown(fault),
            },
            Err(fault) => Outcome::Unknown(fault),
        }
    }
}

/// How far one channel came, as the ledger notes it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum End {
    /// It may have left; also: it left and no answer came.
    Sending,
    Delivered,
    Refused,
}

impl End {
    fn of(delivery: &Delivery) -> End {
        match delivery {
            Delivery::Delivered(_) => End::Delivered,
            Delivery::Refused(_) => End::Refused,
            Delivery::Unknown(_) => End::Sending,
        }
    }

    fn note(self) -> Arg {
        Arg::from(match self {
            End::Sending => "sending",
            End::Delivered => "delivered",
            End::Refused => "refused",
        })
    }
}

fn ends_of(started: &Started) -> BTreeMap<String, End> {
    let end = |note: &Arg| match note.as_text() {
        Some("delivered") => End::Delivered,
        Some("refused") => End::Refused,
        _ => End::Sending,
    };
    started.notes.iter().map(|(name, note)| (name.clone(), end(note))).collect()
}

/// Done only if every channel has it; unknown if one may have it; else not done.
fn combined(names: &[String], ends: &BTreeMap<String, End>, told: &BTreeMap<String, Delivery>, doing: &str) -> Outcome {
    let mut words = Vec::new();
    let mut code = None;
    let mut unknown = false;
    let mut delivered = 0;
    for name in names {
        let word = match (told.get(name), ends.get(name)) {
            (Some(Delivery::Delivered(evidence)), _) => evidence.clone(),
            (Some(Delivery::Refused(fault) | Delivery::Unknown(fault)), _) => {
                code = code.or(Some(fault.code));
                format!("{} ({})", fault.detail, fault.code.name())
            }
            (None, Some(End::Delivered)) => "delivered before".into(),
            (None, Some(End::Refused)) => "refused before".into(),
            (None, Some(End::Sending)) => "begun, and its end was not seen".into(),
            (None, None) => "not begun".into(),
        };
        delivered += usize::from(ends.get(name) == Some(&End::Delivered));
        unknown |= ends.get(name) == Some(&End::Sending) || (told.is_empty() && !ends.contains_key(name));
        words.push(format!("{name}: {word}"));
    }
    let detail = words.join("; ");
    if delivered == names.len() {
        return Outcome::Done(Receipt { observed: detail, ..Receipt::default() });
    }
    let code = match code {
        // Something did leave, over another channel.
        Some(FaultCode::NeverStarted) if delivered > 0 => FaultCode::Failed,
        Some(code) => code,
        None => FaultCode::Conflict,
    };
    let fault = Fault::new(code, doing, detail);
    if unknown { Outcome::Unknown(fault) } else { Outcome::NotDone(fault) }
}

/// One `apply` per number at a time within this process; left when dropped.
struct Flight<'a>(&'a Mutex<BTreeSet<ActionId>>, ActionId);

impl<'a> Flight<'a> {
    fn board(flights: &'a Mutex<BTreeSet<ActionId>>, id: ActionId) -> Option<Flight<'a>> {
        flights.lock().unwrap_or_else(PoisonError::into_inner).insert(id).then_some(Flight(flights, id))
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Actuator for Notify {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec { id: "notify".into(), verbs: vec![self.spec.clone()] }
    }

    fn check(&self, action: &Action) -> Result<(), Fault> {
        self.prepare(action).map(drop)
    }

    fn preview(&self, action: &Action) -> Result<Vec<Planned>, Fault> {
        let (message, channels) = self.prepare(action)?;
        let tell = |channel: String| Planned {
            call: format!("tell {channel}: {}", message.title),
            body: Some(message.text.clone()),
            writes: true,
        };
        Ok(channels.into_iter().map(tell).collect())
    }

    fn apply<'a>(&'a self, now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(self.send(now, action))
    }

    fn probe<'a>(&'a self, _now: Time, action: &'a Action) -> BoxFuture<'a, Outcome> {
        Box::pin(async { self.look(action) })
    }

    fn revert<'a>(&'a self, _now: Time, action: &'a Action, _receipt: &'a Receipt) -> BoxFuture<'a, Outcome> {
        Box::pin(async { not_revertible(action, "what was said was said") })
    }
}

fn send_spec(channels: &BTreeMap<String, Arc<Channel>>, timeout: Span) -> VerbSpec {
    let arg = |name: &str, kind, required, doc: &str| ArgSpec { name: name.into(), kind, required, doc: doc.into() };
    let priorities = Priority::ALL.iter().map(|priority| priority.name().to_owned()).collect();
    VerbSpec {
        verb: "notify.send".into(),
        class: Class::Notify,
        args: vec![
            arg("title", ArgKind::Text(TITLE_BYTES_MAX), true, "One line."),
            arg("text", ArgKind::Text(TEXT_BYTES_MAX), false, "More; the action's reason if not given."),
            arg("priority", ArgKind::OneOf(priorities), false, "How loud; `default` if not given."),
            arg("channel", ArgKind::OneOf(channels.keys().cloned().collect()), false, "Where; the default channels if not given."),
            arg("dedup_key", ArgKind::Text(200), false, "Messages with one key count as the same; title and text if not given."),
        ],
        target_kinds: Vec::new(),
        targets: None,
        opposite: None,
        settle: Span::ZERO,
        timeout,
        revertible: false,
        cost: Default::default(),
        doc: "Sends a message to people.".into(),
    }
}
