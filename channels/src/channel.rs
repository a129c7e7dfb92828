//! What a way of asking must be able to do, and what it hears.
//!
//! A channel sends once and says what became of it; repeating, and giving up, is the caller's (`src/approvals`). Deliberately absent:
//! judging. A channel checks who pressed, and hands the token on; the book and the kernel decide. An editor breaks this by letting a
//! channel repeat by itself (a token would be out twice), or by handing on a press of somebody who is not on its list.

use crate::book::{Keys, Way};
use crate::question::Question;
use homeostat_model::{BoxFuture, Fault};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A message that was sent, as the service names it; empty where it names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent(pub String);

/// Why a message did not get through. The fault's text holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// What went wrong.
    pub fault: Fault,
    /// Whether sending it again can help.
    pub again: bool,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
}

/// What a person hears at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was taken; what became of it.
    Taken(String),
    /// It was not; why.
    Refused(String),
}

impl Told {
    /// The words.
    pub fn words(&self) -> &str {
        match self {
            Told::Taken(words) | Told::Refused(words) => words,
        }
    }
}

/// A press by somebody who is on the channel's list.
#[derive(Debug)]
pub struct Press {
    /// How it came back.
    pub way: Way,
    /// The token, as it came.
    pub token: String,
    /// Who, for the journal: `telegram:4711`. `None`: whoever holds the link.
    pub by: Option<String>,
    /// Where the words go.
    pub reply: oneshot::Sender<Told>,
}

/// How listening goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Presses that were handed on.
    pub presses: u64,
    /// Presses of people or in chats that are not on the list, or that could not be read.
    pub strangers: u64,
    /// Times listening failed.
    pub faults: u64,
    /// The newest fault, as long as listening fails.
    pub fault: Option<Fault>,
}

/// [`Heard`], shared between the listener and whoever looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ears(Arc<Mutex<Heard>>);

impl Ears {
    pub(crate) fn note(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn heard(&self) -> Heard {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long a press waits for the word about it.
const WORD_WITHIN: Duration = Duration::from_secs(3);

/// Hands a press on and waits for the word, shortly: services want an answer at once.
pub(crate) async fn hand_on(presses: &mpsc::Sender<Press>, way: Way, token: String, by: String) -> Told {
    let (reply, word) = oneshot::channel();
    let press = Press { way, token, by: Some(by), reply };
    let asked = async {
        // A full queue is a flood; a closed one is the end of the daemon.
        presses.try_send(press).ok()?;
        word.await.ok()
    };
    match tokio::time::timeout(WORD_WITHIN, asked).await {
        Ok(Some(told)) => told,
        Ok(None) => Told::Refused("Not taken: too much is going on, or Homeostat is stopping. Try again.".into()),
        Err(_) => Told::Taken("It came in; what becomes of it is told in the message.".into()),
    }
}

/// One way of asking.
pub trait Channel: Send + Sync {
    /// Kind and name, `telegram:family`.
    fn label(&self) -> &str;

    /// To whom each question goes: chats, or one nameless reader.
    fn recipients(&self) -> Vec<String>;

    /// The way on which a recipient's tokens come back.
    fn way(&self, recipient: &str) -> Way;

    /// Sends one question, once.
    fn ask<'a>(&'a self, recipient: &'a str, question: &'a Question, keys: &'a Keys) -> BoxFuture<'a, Result<Sent, Miss>>;

    /// Says that a question is over, in its message where the service lets messages be changed.
    fn close<'a>(&'a self, recipient: &'a str, sent: &'a Sent, question: &'a Question, how: &'a str) -> BoxFuture<'a, Result<(), Miss>>;

    /// Listens for presses until it is dropped; `None` where they come in over our own HTTP interface.
    fn listen(self: Arc<Self>, presses: mpsc::Sender<Press>) -> Option<BoxFuture<'static, ()>>;

    /// How listening goes.
    fn heard(&self) -> Heard;
}
