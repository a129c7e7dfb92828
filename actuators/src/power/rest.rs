//! Sleep and off: believed when all witnesses have been silent for a stretch, and the controller or the plug, if there is one, agrees.
//!
//! The connection may die under the command; that is no error and no success. A plug is cut only under a node that is proven off.
//! Deliberately absent: forcing what a graceful way does not bring about. An editor breaks this by taking "accepted" for "asleep".

use super::config::Want;
use super::flow::{Deed, RESTED_AT};
use super::memory::Memory;
use super::way::{State, Way};
use super::witness::Eye;
use homeostat_model::{FaultCode, Outcome};
use tokio::time::Instant;

impl Deed<'_> {
    pub(super) async fn rest(&self) -> Outcome {
        let mut eye = self.eye();
        let state = match self.state_before().await {
            Ok(state) => state,
            Err(outcome) => return outcome,
        };
        let sights = eye.look().await;
        let awake = Eye::any_awake(&sights);
        let cuts = matches!(self.way, Way::Plug { .. });
        let rests = match &state {
            None => !awake,
            Some(State::Off) => true,
            Some(State::Asleep) => self.want == Want::Sleep,
            Some(State::On | State::Changing(_)) => false,
        };
        if awake && rests {
            let loud = eye.loud(&sights).join("; ");
            return self.refused(format!("its controller or plug says {}, but {loud}: one of them is wrong", shown(state.as_ref())));
        }
        if cuts && awake {
            return self.refused(format!("it still runs: {}; shut it down before its plug is cut", eye.loud(&sights).join("; ")));
        }
        if rests || cuts {
            // One stretch, and one look for a witness that tells nothing at the first.
            match (self.silence(&mut eye, Instant::now() + self.power.pace.real(self.power.poll)).await, rests) {
                (Ok(()), true) => return Deed::done(format!("was silent already for {}: {}", self.power.silence, eye.names()), None),
                (Err(loud), _) if cuts => return self.refused(format!("it is not proven off: {}", loud.join("; "))),
                (Ok(()) | Err(_), _) => {}
            }
        }
        // Nobody is logged in on what does not answer; who cannot be seen may be.
        if !eye.loud(&sights).is_empty()
            && let Err(outcome) = self.objections().await
        {
            return outcome;
        }
        if let Err(outcome) = self.note_sending(&eye, None) {
            return outcome;
        }
        let start = Instant::now();
        match self.send().await {
            Ok(sent) => self.fall_silent(&mut eye, start, &sent).await,
            Err(outcome) => outcome,
        }
    }

    /// What speaks against rest, or a restart, of a node that runs.
    pub(super) async fn objections(&self) -> Result<(), Outcome> {
        let memory = self.memory()?;
        if let Some(why) = self.node.unrested(self.want, &memory, self.now) {
            return Err(self.refused(why));
        }
        match self.node.objection(self.want).await {
            Some((FaultCode::Conflict, why)) => Err(self.refused(why)),
            Some((code, why)) => Err(self.not_done(code, format!("{why}; nothing was sent"))),
            None => Ok(()),
        }
    }

    async fn fall_silent(&self, eye: &mut Eye<'_>, start: Instant, sent: &str) -> Outcome {
        let until = self.after(self.allowed(self.node.config.off_timeout));
        if let Err(loud) = self.silence(eye, until).await {
            return self.unknown(FaultCode::TimedOut, format!("{sent}; {}", loud.join("; ")));
        }
        let (seconds, at) = (self.seconds_since(start), self.moment());
        if let Err(why) = self.agrees(until).await {
            return self.unknown(FaultCode::Conflict, format!("{sent}; {why}"));
        }
        Memory::rested(&self.power.ledger, &self.node.name, at);
        let observed = format!("{sent}; silent for {}, {seconds:.1} s after the send: {}", self.power.silence, eye.names());
        Deed::done(observed, Some((RESTED_AT, at)))
    }
}

fn shown(state: Option<&State>) -> String {
    state.map_or_else(|| "nothing".into(), |state| format!("{state:?}"))
}
