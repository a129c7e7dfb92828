//! The book of open questions: one-time tokens, each bound to an action, its plan, one answer and the way it may come back.
//!
//! Pure: the time and the random bytes are arguments. Only hashes of tokens are kept, and every one of them is compared at every
//! look, so that time tells nothing. The first answer wins over all ways of asking. Deliberately absent: sending, listening, and what
//! an answer does; the kernel is asked for that, and rules again. An editor breaks this by keeping a token's text, by letting
//! [`Book::take`] succeed twice for one question, or by taking a token that came back another way than it went out.

use homeostat_model::{ActionId, Time};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;

#[cfg(test)]
mod tests;

/// Random bytes of one token: 160 bits.
pub const TOKEN_BYTES: usize = 20;
/// Characters of one token.
pub const TOKEN_CHARS: usize = 2 * TOKEN_BYTES;
/// Tokens of ended questions that are remembered, so that a late press hears how it ended instead of "unknown".
const ENDED_MAX: usize = 1024;

/// What a person may say.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Do it.
    Yes,
    /// Do not do it.
    No,
    /// Do not do it, and do not wish it of this target any more.
    Never,
}

impl Answer {
    /// All of them, in the order of the buttons.
    pub const ALL: [Answer; 3] = [Answer::Yes, Answer::No, Answer::Never];

    /// The button's words; they never hold anything from outside.
    pub fn label(self) -> &'static str {
        match self {
            Answer::Yes => "Yes",
            Answer::No => "No",
            Answer::Never => "Never",
        }
    }
}

/// One token's text, lower-case hexadecimal. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    fn new(random: [u8; TOKEN_BYTES]) -> Token {
        Token(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The text, for the message that carries it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The tokens of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys([Token; 3]);

impl Keys {
    /// The token of an answer.
    pub fn of(&self, answer: Answer) -> &Token {
        &self.0[answer as usize]
    }
}

/// The way on which a token may come back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// By a link: whoever has it.
    Link,
    /// By a press in this chat of this channel.
    Chat {
        /// The channel's label, `telegram:family`.
        channel: String,
        /// The chat, as the service names it.
        chat: String,
    },
}

/// Why a token was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Forged, too old to be remembered, or from before a restart.
    Unknown,
    /// It is known, but did not come back the way it went out.
    Elsewhere,
    /// The time to answer is over.
    Late,
    /// Somebody was faster.
    Answered {
        /// Who.
        by: String,
    },
    /// The question is no longer open.
    Over {
        /// How it ended.
        how: Arc<str>,
    },
}

impl Refusal {
    /// The name used in counters.
    pub fn name(&self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown",
            Refusal::Elsewhere => "elsewhere",
            Refusal::Late => "late",
            Refusal::Answered { .. } => "answered",
            Refusal::Over { .. } => "over",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown => {
                f.write_str("This is not an open question: it is over, or it was asked before a restart. See the newest message.")
            }
            Refusal::Elsewhere => f.write_str("This answer belongs to another chat."),
            Refusal::Late => f.write_str("The time to answer is over."),
            Refusal::Answered { by } => write!(f, "{by} was faster."),
            Refusal::Over { how } => write!(f, "This question is over: {how}"),
        }
    }
}

/// An answer that counts, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The action.
    pub action: ActionId,
    /// The plan that was shown.
    pub plan: String,
    /// What was said.
    pub answer: Answer,
    /// The label of the channel whose message it was, `ntfy:phone`.
    pub label: String,
}

/// There are as many open questions as there may be.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// The limit.
    pub questions_max: usize,
}

/// What happened, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions that were opened.
    pub opened: u64,
    /// Questions that were not, because of the limit.
    pub full: u64,
    /// Answers that were taken.
    pub taken: u64,
    /// Tokens that were not, by [`Refusal::name`].
    pub refused: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug)]
struct Open {
    plan: String,
    until: Time,
    answered_by: Option<String>,
}

type Hash = [u8; 32];

#[derive(Clone, Debug)]
struct Bound {
    hash: Hash,
    action: ActionId,
    answer: Answer,
    label: String,
    way: Way,
}

/// The book.
#[derive(Clone, Debug)]
pub struct Book {
    questions_max: usize,
    questions: BTreeMap<ActionId, Open>,
    tokens: Vec<Bound>,
    ended: VecDeque<(Hash, Arc<str>)>,
    counts: Counts,
}

fn hash_of(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

impl Book {
    /// An empty book for at most so many open questions.
    pub fn new(questions_max: usize) -> Book {
        Book { questions_max, questions: BTreeMap::new(), tokens: Vec::new(), ended: VecDeque::new(), counts: Counts::default() }
    }

    /// Opens a question, or moves its end. A question whose plan has changed is closed and opened anew: its tokens are dead then.
    /// True if it was opened.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn open(&mut self, action: ActionId, plan: &str, until: Time) -> Result<bool, Full> {
        match self.questions.get_mut(&action) {
            Some(open) if open.plan == plan => {
                open.until = until;
                return Ok(false);
            }
            Some(_) => self.close(action, "the plan has changed"),
            None => {}
        }
        if self.questions.len() >= self.questions_max {
            self.counts.full += 1;
            return Err(Full { questions_max: self.questions_max });
        }
        self.questions.insert(action, Open { plan: plan.to_owned(), until, answered_by: None });
        self.counts.opened += 1;
        Ok(true)
    }

    /// Fresh tokens for one message of an open question; those of an older message over the same label and way are dead from here on.
    /// `random` comes from the caller's generator, 20 bytes for each answer. `None`: there is no such question.
    pub fn issue(&mut self, action: ActionId, label: &str, way: &Way, random: [[u8; TOKEN_BYTES]; 3]) -> Option<Keys> {
        if !self.questions.contains_key(&action) {
            return None;
        }
        let old = |bound: &Bound| bound.action == action && bound.label == label && bound.way == *way;
        self.retire(old, "it was asked again: see the newest message");
        let keys = Keys(random.map(Token::new));
        for answer in Answer::ALL {
            let hash = hash_of(keys.of(answer).expose());
            self.tokens.push(Bound { hash, action, answer, label: label.to_owned(), way: way.clone() });
        }
        Some(keys)
    }

    fn retire(&mut self, which: impl Fn(&Bound) -> bool, how: &str) {
        let how: Arc<str> = how.into();
        let ended = &mut self.ended;
        self.tokens.retain(|bound| {
            let goes = which(bound);
            if goes {
                ended.push_back((bound.hash, Arc::clone(&how)));
            }
            !goes
        });
        while self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }

    fn find(&self, now: Time, text: &str, way: &Way) -> Result<&Bound, Refusal> {
        let hash = hash_of(&text.to_ascii_lowercase());
        let mut found = None;
        for bound in &self.tokens {
            if bool::from(bound.hash.ct_eq(&hash)) {
                found = Some(bound);
            }
        }
        let mut over = None;
        for (ended, how) in &self.ended {
            if bool::from(ended.ct_eq(&hash)) {
                over = Some(how);
            }
        }
        let Some(bound) = found else {
            return Err(over.map_or(Refusal::Unknown, |how| Refusal::Over { how: Arc::clone(how) }));
        };
        if bound.way != *way {
            return Err(Refusal::Elsewhere);
        }
        let Some(open) = self.questions.get(&bound.action) else { return Err(Refusal::Unknown) };
        match &open.answered_by {
            Some(by) => Err(Refusal::Answered { by: by.clone() }),
            None if now > open.until => Err(Refusal::Late),
            None => Ok(bound),
        }
    }

    fn taken(&self, bound: &Bound) -> Taken {
        let plan = self.questions.get(&bound.action).map(|open| open.plan.clone()).unwrap_or_default();
        Taken { action: bound.action, plan, answer: bound.answer, label: bound.label.clone() }
    }

    /// What a token stands for, without using it up: for the page that asks again. What is refused is counted.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn look(&mut self, now: Time, text: &str, way: &Way) -> Result<Taken, Refusal> {
        let found = self.find(now, text, way).map(|bound| self.taken(bound));
        if let Err(refusal) = &found {
            *self.counts.refused.entry(refusal.name()).or_default() += 1;
        }
        found
    }

    /// Takes an answer: from here on every token of this question is refused. `by` is who, for those who come later; a link's token
    /// says no more than its own label.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn take(&mut self, now: Time, text: &str, way: &Way, by: Option<&str>) -> Result<Taken, Refusal> {
        let taken = self.look(now, text, way)?;
        if let Some(open) = self.questions.get_mut(&taken.action) {
            open.answered_by = Some(by.unwrap_or(&taken.label).to_owned());
        }
        self.counts.taken += 1;
        Ok(taken)
    }

    /// Gives an answer back that the journal did not take: the same press may be made again.
    pub fn put_back(&mut self, taken: &Taken) {
        if let Some(open) = self.questions.get_mut(&taken.action) {
            open.answered_by = None;
        }
    }

    /// An answer that the kernel could not follow now: the question stays open, the message whose token was used is dead, and wants
    /// to be sent again with new ones.
    pub fn hold(&mut self, taken: &Taken, way: &Way, how: &str) {
        self.put_back(taken);
        self.retire(|bound| bound.action == taken.action && bound.label == taken.label && bound.way == *way, how);
    }

    /// Ends a question; `how` is what later presses hear.
    pub fn close(&mut self, action: ActionId, how: &str) {
        self.questions.remove(&action);
        self.retire(|bound| bound.action == action, how);
    }

    /// The open questions.
    pub fn actions(&self) -> impl Iterator<Item = ActionId> + '_ {
        self.questions.keys().copied()
    }

    /// Who answered an open question, if somebody did and the kernel's word is still out.
    pub fn answered_by(&self, action: ActionId) -> Option<&str> {
        self.questions.get(&action)?.answered_by.as_deref()
    }

    /// What happened, since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
