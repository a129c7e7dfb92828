//! Approvals where people are: joins the channels to the kernel.
//!
//! Reading order: `desk` (one task that keeps the book, asks, and judges answers), `post` (one task for each channel that sends, repeats and
//! gives up), `told` (what people read). The kernel's questions are looked at again and again, so what is open after a restart is asked anew
//! with new tokens, and what has ended anywhere is closed everywhere. Deliberately absent: deciding. An answer becomes an order like
//! one of the command line, with the plan that was shown, and the kernel rules again. An editor breaks this by ordering something
//! without asking [`homeostat_kernel::Kernel::answerable`] first, or by telling a person of an end that the kernel does not know.

mod desk;
mod post;
mod told;

pub use desk::Desk;

use crate::dispatch::Announce;
use homeostat_channels::slack::SlackRefusal;
use homeostat_channels::{ApprovalsConfig, Built, Press, Refusal, Taken, Told, Way};
use homeostat_model::{Fault, Notice, NoticeKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Letters to the desk that may wait.
const MAIL_MAX: usize = 256;

/// What others ask of the desk.
enum Mail {
    /// The kernel asks people.
    Noticed(Notice),
    /// What does this link's token stand for?
    Look(String, oneshot::Sender<Result<(Taken, String), Refusal>>),
}

/// How one channel is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChannelStatus {
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that were given up.
    pub given_up: u64,
    /// Messages that wait to be sent, again or at all.
    pub waiting: usize,
    /// Presses that came in.
    pub presses: u64,
    /// Presses of people or in chats that are not on the list.
    pub strangers: u64,
    /// What goes wrong now, with sending or with listening.
    pub fault: Option<Fault>,
}

/// How asking is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ApprovalsStatus {
    /// Questions that are open on the channels.
    pub open: usize,
    /// Questions that were asked.
    pub asked: u64,
    /// Questions that were not, because there were too many.
    pub not_asked: u64,
    /// Answers that were taken.
    pub taken: u64,
    /// Answers that were not, by why: `unknown`, `elsewhere`, `late`, `answered`, `over`, `kernel`.
    pub refused: BTreeMap<&'static str, u64>,
    /// The channels.
    pub channels: BTreeMap<String, ChannelStatus>,
}

/// The way to the desk, for the HTTP interface and for notices.
#[derive(Clone)]
pub struct Door {
    mail: mpsc::Sender<Mail>,
    presses: mpsc::Sender<Press>,
    built: Built,
    status: Arc<Mutex<ApprovalsStatus>>,
}

impl Door {
    /// Hands a notice of the kernel to the desk. False: it is none of the desk's, or the desk is overrun; it must go the usual way.
    pub fn takes(&self, notice: &Notice) -> bool {
        notice.kind == NoticeKind::Approval && notice.action.is_some() && self.mail.try_send(Mail::Noticed(notice.clone())).is_ok()
    }

    /// What a link's token stands for, and the question's text; nothing is used up. `None`: the desk is stopping or overrun.
    pub async fn look(&self, token: &str) -> Option<Result<(Taken, String), Refusal>> {
        let (reply, shown) = oneshot::channel();
        self.mail.try_send(Mail::Look(token.to_owned(), reply)).ok()?;
        shown.await.ok()
    }

    /// Answers by a link's token. `None`: the desk is stopping or overrun.
    pub async fn answer(&self, token: &str) -> Option<Told> {
        let (reply, told) = oneshot::channel();
        self.presses.try_send(Press { way: Way::Link, token: token.to_owned(), by: None, reply }).ok()?;
        told.await.ok()
    }

    /// A press over Slack: checked here, answered by a task of its own, because Slack waits for three seconds only.
    ///
    /// # Errors
    /// See [`SlackRefusal`].
    pub fn slack(&self, now_seconds: i64, timestamp: &str, signature: &str, body: &[u8]) -> Result<(), SlackRefusal> {
        let mut refusal = SlackRefusal::Off;
        for slack in &self.built.slack {
            match slack.read(now_seconds, timestamp, signature, body) {
                Ok(press) => {
                    let (slack, presses) = (Arc::clone(slack), self.presses.clone());
                    tokio::spawn(async move { slack.pressed(press, &presses).await });
                    return Ok(());
                }
                Err(SlackRefusal::Off) => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }

    /// How asking is.
    pub fn status(&self) -> ApprovalsStatus {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for channel in &self.built.channels {
            let (heard, line) = (channel.heard(), status.channels.entry(channel.label().to_owned()).or_default());
            (line.presses, line.strangers) = (heard.presses, heard.strangers);
            line.fault = line.fault.take().or(heard.fault);
        }
        status
    }
}

/// Checks the section and makes the desk and its door; `None` where no channel is configured. Connects nowhere.
///
/// # Errors
/// Every problem of the section.
pub fn prepare(config: &ApprovalsConfig) -> Result<Option<(Door, Desk)>, Vec<Fault>> {
    let built = config.build()?;
    if built.channels.is_empty() {
        return Ok(None);
    }
    let ((mail, mails), (presses, pressed)) = (mpsc::channel(MAIL_MAX), mpsc::channel(MAIL_MAX));
    let status = Arc::new(Mutex::new(ApprovalsStatus::default()));
    let desk = Desk::new(config.questions_max, built.channels.clone(), mails, (presses.clone(), pressed), Arc::clone(&status));
    Ok(Some((Door { mail, presses, built, status }, desk)))
}

/// The way to people: the desk for its questions, the usual way for everything else.
pub fn over(door: Option<Door>, plainly: Announce) -> Announce {
    let Some(door) = door else { return plainly };
    Arc::new(move |notice| {
        let (door, plainly) = (door.clone(), Arc::clone(&plainly));
        Box::pin(async move {
            if !door.takes(&notice) {
                plainly(notice).await;
            }
        })
    })
}
