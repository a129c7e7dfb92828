//! Restarts: believed when the node answers under another boot id, or answers after it was silent, both after the send.
//!
//! Deliberately absent: taking an answer alone for a restart: a node that ignored the command answers as well. An editor breaks this by
//! reading the boot id only afterwards.

use super::flow::{Deed, Witnessed};
use super::way::State;
use homeostat_model::{Arg, FaultCode, Outcome};
use tokio::time::Instant;

/// The ledger's note of the boot id before.
pub(super) const BOOT_ID: &str = "boot_id";
/// The ledger's note that the node was seen silent after the send.
pub(super) const FELL: &str = "fell_silent";
/// So many silent looks in a row are a node that went down, not a lost packet.
const SILENT_LOOKS: u32 = 2;

impl Deed<'_> {
    pub(super) async fn reboot(&self) -> Outcome {
        match self.state_before().await {
            Ok(Some(State::Off)) => return self.refused("its controller says that it is off: switch it on instead"),
            Ok(_) => {}
            Err(outcome) => return outcome,
        }
        let mut eye = self.eye();
        let awake = super::witness::Eye::any_awake(&eye.look().await);
        if awake && let Err(outcome) = self.objections().await {
            return outcome;
        }
        let before = self.boot_id().await;
        if awake && self.node.boot_id.is_some() && before.is_none() {
            return self.not_done(FaultCode::Unreachable, "its boot id cannot be read, so a restart could not be proven; nothing was sent");
        }
        if let Err(outcome) = self.note_sending(&eye, before.clone().map(|id| (BOOT_ID, id))) {
            return outcome;
        }
        let start = Instant::now();
        let sent = match self.send().await {
            Ok(sent) => sent,
            Err(outcome) => return outcome,
        };
        let until = self.after(self.allowed(self.node.config.off_timeout + self.node.config.boot_timeout()));
        // A node that was silent before shows nothing new by being silent.
        let mut eye = self.eye();
        let (mut silent, mut fell) = (0, false);
        loop {
            let sights = eye.look().await;
            let mut witnessed = Witnessed::default();
            witnessed.add(&sights, self.seconds_since(start));
            silent = if eye.loud(&sights).is_empty() { silent + 1 } else { 0 };
            if silent == SILENT_LOOKS && !fell {
                fell = true;
                let _ = self.power.ledger.note(self.mark, FELL, Arg::Bool(true));
            }
            if witnessed.proves(self.node)
                && let Some(proof) = self.restarted(before.as_deref(), fell).await
            {
                return Deed::done(format!("{sent}; {proof}, {} after the send", witnessed.words(self.node)), None);
            }
            if Instant::now() >= until {
                let seen = if fell { "it fell silent and has not come back" } else { "it was not seen to go down" };
                return self.unknown(FaultCode::TimedOut, format!("{sent}; {seen}"));
            }
            self.pause().await;
        }
    }

    /// What proves that a node which answers has restarted.
    async fn restarted(&self, before: Option<&str>, fell: bool) -> Option<&'static str> {
        match before {
            Some(before) => (self.boot_id().await? != before).then_some("the boot id is another"),
            None => fell.then_some("it was silent"),
        }
    }

    /// What tells this boot from others, if it is configured and can be read.
    pub(super) async fn boot_id(&self) -> Option<String> {
        self.node.boot_id.as_ref()?.text().await.ok()
    }
}
