//! Delivery over one channel: one message at a time, none twice within the window.
//!
//! Deliberately absent: what a service looks like (see [`super::wire`]). An editor breaks this by remembering a message before it
//! was seen to arrive: a second sender would then be told "already sent" of something that never was.

use super::wire::{ChannelConfig, Compiled, Message};
use crate::client::{Exchange, Patience, exchange_patiently, refused};
use crate::redact::Redactor;
use homeostat_model::{Fault, FaultCode, Outcome, Span};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// How many messages are remembered at most; the oldest is forgotten first.
const RECENT_MAX: usize = 512;

/// What is known of one channel's delivery.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    /// The service said so; its words.
    Delivered(String),
    /// It surely did not arrive.
    Refused(Fault),
    /// It may have arrived.
    Unknown(Fault),
}

/// What was delivered lately.
#[derive(Debug)]
pub(super) struct Recent {
    window: Duration,
    delivered: VecDeque<(Instant, String)>,
}

impl Recent {
    pub(super) fn new(window: Duration) -> Recent {
        Recent { window, delivered: VecDeque::new() }
    }

    /// How long ago this was delivered, if within the window.
    pub(super) fn seen(&mut self, now: Instant, key: &str) -> Option<Duration> {
        let window = self.window;
        self.delivered.retain(|(at, _)| now.saturating_duration_since(*at) < window);
        self.delivered.iter().rev().find(|(_, known)| known == key).map(|(at, _)| now.saturating_duration_since(*at))
    }

    pub(super) fn remember(&mut self, now: Instant, key: String) {
        if self.delivered.len() == RECENT_MAX {
            self.delivered.pop_front();
        }
        self.delivered.push_back((now, key));
    }
}

/// One channel, ready to deliver.
#[derive(Debug)]
pub(super) struct Channel {
    name: String,
    service: Compiled,
    recent: Mutex<Recent>,
}

impl Channel {
    pub(super) fn new(name: &str, config: &ChannelConfig, window: Span) -> Result<Channel, String> {
        Ok(Channel { name: name.into(), service: Compiled::new(config)?, recent: Mutex::new(Recent::new(window.to_std())) })
    }

    /// Delivers, repeating while that makes sense and patience lasts.
    pub(super) async fn deliver(self: Arc<Self>, client: reqwest::Client, message: Arc<Message>, patience: Patience) -> Delivery {
        let doing = format!("send over `{}`", self.name);
        let Ok(mut recent) = timeout_at(patience.deadline, self.recent.lock()).await else {
            return Delivery::Refused(Fault::new(FaultCode::NeverStarted, doing, "earlier messages took all the time"));
        };
        let key = message.key();
        if let Some(ago) = recent.seen(Instant::now(), &key) {
            return Delivery::Delivered(format!("already sent {} s ago", ago.as_secs()));
        }
        let delivery = match &self.service {
            Compiled::Log => {
                log(&message);
                Delivery::Delivered("logged".into())
            }
            service => post(service, &client, &message, patience, doing).await,
        };
        if matches!(delivery, Delivery::Delivered(_)) {
            recent.remember(Instant::now(), key);
        }
        delivery
    }
}

fn log(message: &Message) {
    let Message { title, text, target, action, priority, .. } = message;
    tracing::warn!(title, text, target_name = target, action, priority = priority.name(), "Message.");
}

async fn post(service: &Compiled, client: &reqwest::Client, message: &Message, patience: Patience, doing: String) -> Delivery {
    let mut redactor = Redactor::default();
    let request = match service.request(message, &mut redactor) {
        Ok(request) => request,
        Err(problem) => return Delivery::Refused(Fault::new(FaultCode::NeverStarted, doing, redactor.clean_head(&problem, 300))),
    };
    let (exchange, lost) = exchange_patiently(client, &request, patience, |answer| service.asks_to_wait(answer)).await;
    let unless_lost = |fault: Fault| if lost { Delivery::Unknown(fault) } else { Delivery::Refused(fault) };
    match exchange {
        Exchange::Answered(answer) => match service.evidence(&answer) {
            Some(evidence) => Delivery::Delivered(redactor.clean_head(&evidence, 200)),
            None if answer.is_success() => {
                let detail = format!("{}; that is not what the service says of a delivered message", answer.shown(&redactor));
                Delivery::Unknown(Fault::new(FaultCode::Malformed, doing, detail))
            }
            None => match refused(answer.status, &doing, answer.shown(&redactor)) {
                Outcome::NotDone(fault) => unless_lost(fault),
                Outcome::Unknown(fault) => Delivery::Unknown(fault),
                Outcome::Done(_) => Delivery::Unknown(Fault::new(FaultCode::Internal, doing, "a refusal cannot be done")),
            },
        },
        Exchange::NotSent(why) => unless_lost(Fault::new(FaultCode::Unreachable, doing, redactor.clean_head(&why, 300))),
        Exchange::NoAnswer(code, why) => {
            let detail = format!("sent, but no answer came: {}", redactor.clean_head(&why, 300));
            Delivery::Unknown(Fault::new(code, doing, detail))
        }
    }
}
