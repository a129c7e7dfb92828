//! Waking and switching on: believed when enough witnesses have seen the node awake after the send.
//!
//! Packets go again after 30 and 90 s, because nobody acknowledges them; every other way is gone once. Deliberately absent: calling silence
//! at the deadline `NotDone`: the node may still be booting, and a probe will see. An editor breaks this by counting an answer from before
//! the send.

use super::flow::{Deed, WOKEN_AT, Witnessed};
use super::memory::Memory;
use super::meter::Meter;
use super::way::{State, Way};
use super::witness::{Eye, Sight};
use super::wol::Packets;
use crate::ledger::never_started;
use homeostat_model::{FaultCode, Outcome, Span};
use tokio::time::{Instant, timeout_at};

/// A kubelet renews its Lease every 10 s (a quarter of `nodeLeaseDurationSeconds`, 40 by default).
const LEASE_RENEWED: Span = Span::from_secs(12);

impl Deed<'_> {
    pub(super) async fn rise(&self) -> Outcome {
        let mut eye = self.eye();
        let sights = self.first_look(&mut eye).await;
        if let Some(names) = eye.awake_now(&sights, self.node.config.witnesses_min) {
            return Deed::done(format!("was already up: {} answered", names.join(" and ")), None);
        }
        let memory = match self.memory() {
            Ok(memory) => memory,
            Err(outcome) => return outcome,
        };
        if let Some(why) = self.node.unrested(self.want, &memory, self.now) {
            return self.refused(why);
        }
        let longest = self.node.config.boot_timeout();
        let limit = if self.node.config.boot_timeout.is_some() { longest } else { memory.deadline(longest) };
        match self.state_before().await {
            Err(outcome) => outcome,
            Ok(Some(State::On)) if matches!(self.way, Way::Plug { .. }) => {
                self.refused("the plug is on already, and the node does not answer: power that is there cannot start it")
            }
            Ok(Some(State::On)) => {
                self.refused("its controller says that it is on, and it does not answer: it hangs or boots, and cannot be woken")
            }
            Ok(Some(State::Changing(state))) if state == "PoweringOff" => self.refused("it is going off at this moment"),
            Ok(Some(State::Changing(_))) => self.watch(&mut eye, None, false, limit).await,
            Ok(None | Some(State::Off | State::Asleep)) => self.send_and_watch(&mut eye, limit).await,
        }
    }

    /// Looks until it is clear whether it is up already, at most as long as a kubelet takes to renew a Lease.
    async fn first_look(&self, eye: &mut Eye<'_>) -> Vec<Sight> {
        let until = Instant::now() + self.power.pace.real(LEASE_RENEWED);
        loop {
            let sights = eye.look().await;
            let is_clear = !eye.is_in_doubt(&sights) || eye.awake_now(&sights, self.node.config.witnesses_min).is_some();
            if is_clear || Instant::now() >= until {
                return sights;
            }
            self.pause().await;
        }
    }

    async fn send_and_watch(&self, eye: &mut Eye<'_>, limit: Span) -> Outcome {
        let packets = match (self.way, self.node.mac) {
            (Way::Wol, Some(mac)) => match Packets::prepare(mac, &self.node.config).await {
                Ok(packets) => Some(packets),
                Err(problem) => return never_started(self.doing.clone(), problem),
            },
            _ => None,
        };
        if let Err(outcome) = self.note_sending(eye, None) {
            return outcome;
        }
        self.watch(eye, packets, true, limit).await
    }

    /// Sends, unless it is on its way already, and watches.
    async fn watch(&self, eye: &mut Eye<'_>, packets: Option<Packets>, send: bool, limit: Span) -> Outcome {
        let allowed = self.allowed(limit);
        let start = Instant::now();
        let deadline = start + self.power.pace.real(allowed);
        let sent = match &packets {
            Some(packets) => packets.first(&self.power.bursts).await.map_err(|why| self.not_done(FaultCode::Unreachable, why)),
            None if send => self.send().await,
            None => Ok("its controller was starting it already; nothing was sent".into()),
        };
        let sent = match sent {
            Ok(words) => words,
            Err(outcome) => return outcome,
        };
        let (mut witnessed, mut meter) = (Witnessed::default(), Meter::default());
        let answered = timeout_at(deadline, async {
            let again = async {
                match &packets {
                    Some(packets) => packets.again(&self.power.bursts, start).await,
                    None => std::future::pending().await,
                }
            };
            let watch = async {
                loop {
                    let sights = eye.look().await;
                    meter.add(self.seconds_since(start), eye.watts);
                    witnessed.add(&sights, self.seconds_since(start));
                    if witnessed.proves(self.node) {
                        break;
                    }
                    self.pause().await;
                }
            };
            tokio::select! { () = watch => {}, () = again => {} }
        });
        if answered.await.is_err() {
            let detail = format!("{sent}; {} did not answer within {} s", witnessed.missing(self.node), allowed.seconds());
            return if send { self.unknown(FaultCode::TimedOut, detail) } else { self.not_done(FaultCode::TimedOut, detail) };
        }
        let (at, took) = (self.moment(), self.seconds_since(start));
        self.node.learn(Memory::woken(
            &self.power.ledger,
            &self.node.name,
            at,
            Span::from_millis((took * 1000.0) as i64),
            meter.joules(took),
        ));
        let what = if packets.is_some() { "the first packet" } else { "the send" };
        Deed::done(format!("{} after {what}", witnessed.words(self.node)), send.then_some((WOKEN_AT, at)))
    }
}
