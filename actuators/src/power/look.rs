//! Probing: what the world shows of a deed whose end was not seen. Nothing is sent but questions.
//!
//! Deliberately absent: doing it again. An editor breaks this by calling "not yet" `NotDone` while the node may still be on its way.

use super::config::Want;
use super::flow::{BEFORE, Deed, SENDING, Witnessed};
use super::reboot::{BOOT_ID, FELL};
use super::witness::Eye;
use crate::ledger::{Started, never_started};
use homeostat_model::{Arg, FaultCode, Outcome, Span};
use tokio::time::Instant;

impl Deed<'_> {
    /// Looks.
    pub(super) async fn look(&self, started: &Started) -> Outcome {
        let limit = self.limit();
        let over = self.now.since(started.at) > limit;
        if over && !started.notes.contains_key(SENDING) {
            return never_started(self.doing.clone(), "it was begun, but nothing was sent");
        }
        match self.want {
            Want::Wake | Want::On => self.look_awake(started, over, limit).await,
            Want::Sleep | Want::Off => self.look_silent(over, limit).await,
            Want::Reboot => self.look_restarted(started, over).await,
        }
    }

    /// How long it may take until "not yet" is "no".
    fn limit(&self) -> Span {
        let config = &self.node.config;
        match self.want {
            Want::Wake | Want::On => config.boot_timeout(),
            Want::Sleep | Want::Off => config.off_timeout,
            Want::Reboot => config.off_timeout + config.boot_timeout(),
        }
    }

    async fn look_awake(&self, started: &Started, over: bool, limit: Span) -> Outcome {
        let mut eye = self.eye();
        eye.remember(started.notes.get(BEFORE));
        let sights = eye.look().await;
        let mut witnessed = Witnessed::default();
        let min = self.node.config.witnesses_min;
        witnessed.add(&sights, 0.0);
        if witnessed.proves(self.node) || eye.awake_now(&sights, min).is_some() {
            let seen = self.node.witnesses.iter().zip(&sights).filter(|(_, sight)| matches!(sight, super::witness::Sight::Awake(_)));
            let names: Vec<String> = seen.map(|(witness, _)| witness.name()).collect();
            return Deed::done(format!("{} answers", names.join(" and ")), None);
        }
        let missing = witnessed.missing(self.node);
        if over {
            return self.not_done(FaultCode::TimedOut, format!("{missing} does not answer, more than {limit} after the packet"));
        }
        self.unknown(FaultCode::TimedOut, format!("{missing} does not answer yet; it may take {limit}"))
    }

    async fn look_silent(&self, over: bool, limit: Span) -> Outcome {
        let mut eye = self.eye();
        match self.silence(&mut eye, Instant::now() + self.power.pace.real(self.power.poll)).await {
            Ok(()) => match self.agrees(Instant::now()).await {
                Ok(()) => Deed::done(format!("silent for {}: {}", self.power.silence, eye.names()), None),
                Err(why) => self.unknown(FaultCode::Conflict, why),
            },
            Err(loud) if over && Eye::any_awake(&eye.look().await) => {
                self.not_done(FaultCode::TimedOut, format!("{}, more than {limit} after the send", loud.join("; ")))
            }
            Err(loud) => self.unknown(FaultCode::TimedOut, loud.join("; ")),
        }
    }

    async fn look_restarted(&self, started: &Started, over: bool) -> Outcome {
        let mut eye = self.eye();
        eye.remember(started.notes.get(BEFORE));
        let sights = eye.look().await;
        let awake = eye.awake_now(&sights, self.node.config.witnesses_min).is_some();
        let before = started.notes.get(BOOT_ID).and_then(Arg::as_text);
        let now = if awake && before.is_some() { self.boot_id().await } else { None };
        match (before, now) {
            _ if !awake => self.unknown(FaultCode::TimedOut, "it does not answer"),
            (Some(before), Some(now)) if before != now => Deed::done("it answers, and its boot id is another".into(), None),
            (Some(_), Some(_)) if over => self.not_done(FaultCode::TimedOut, "it answers under the boot id of before"),
            (Some(_), _) => self.unknown(FaultCode::TimedOut, "it answers; its boot id is that of before or cannot be read"),
            (None, _) if started.notes.contains_key(FELL) => Deed::done("it answers, and was silent after the send".into(), None),
            (None, _) => self.unknown(FaultCode::Conflict, "it answers, and nothing tells whether it restarted: configure `boot_id`"),
        }
    }
}
