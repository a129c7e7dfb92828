//! Who answers: local models first, a cloud only where its purpose is allowed and the question was redacted; within the budget; from the
//! cache where the same was asked lately; and without whoever failed too often.
//!
//! All decisions are made under one lock from what is known and the caller's time; between two of them a reasoner is awaited.
//! Deliberately absent: clocks, files (the caller keeps [`Spent`]), waking nodes: a fault names the node, and waking it is a proposal
//! like any other. An editor breaks this by asking another model after one declined, by handing a cloud the local form of a question,
//! or by calling a reasoner before its bound is booked.

mod breaker;
mod cache;
#[cfg(test)]
mod tests;

use crate::budget::{Amount, Booking, BudgetConfig, Spent};
use crate::config::Price;
pub use breaker::BreakerConfig;
use breaker::{Breaker, Health};
use cache::Cache;
pub use cache::CacheConfig;
use homeostat_model::{
    Answer, Place, Question, QuestionPurpose, REQUESTS_BILLED_MAX, ReasonFault, ReasonFaultClass, Reasoner, ReasonerSpec, Span, Target,
    Time, TokenUsage,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// The time now, by the caller's clock; asked before and after a reasoner is awaited.
pub type Clock<'a> = &'a (dyn Fn() -> Time + Send + Sync);

/// A reasoner, what it costs, and what it is asked for.
#[derive(Clone)]
pub struct Member {
    /// The reasoner.
    pub reasoner: Arc<dyn Reasoner>,
    /// What it costs.
    pub price: Price,
    /// Asked for these purposes only; `None`: for all it can.
    pub only_for: Option<BTreeSet<QuestionPurpose>>,
}

/// What a chain keeps to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainSettings {
    /// The purposes for which a cloud may be asked.
    pub cloud_for: BTreeSet<QuestionPurpose>,
    /// What all reasoners together may use up.
    pub budget: BudgetConfig,
    /// Answers that are given again.
    pub cache: CacheConfig,
    /// When a reasoner that fails is left alone.
    pub breaker: BreakerConfig,
    /// How many questions may be under way at once: 1 to 64.
    pub questions_max: usize,
}

/// A question in the forms in which it may be told.
#[derive(Copy, Clone, Debug)]
pub struct Asking<'a> {
    /// For models in the house.
    pub local: &'a Question,
    /// For clouds: the same, redacted. `None`: it is told to no cloud.
    pub cloud: Option<&'a Question>,
    /// The nodes that are known to sleep.
    pub asleep: &'a BTreeSet<Target>,
}

/// A reasoner that was not asked, or did not answer, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub reasoner: String,
    /// Why. Names the node that would have to be awake, if that is all that is missing.
    pub fault: ReasonFault,
}

/// An answer and how it came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Who answered.
    pub reasoner: String,
    /// Where: an answer from a cloud speaks of redacted names.
    pub place: Place,
    /// The answer. From the cache it used up nothing.
    pub answer: Answer,
    /// Whether it was given before.
    pub cached: bool,
    /// Who was left out before.
    pub left_out: Vec<LeftOut>,
}

/// No answer, and why from each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// Each reasoner, in the order in which they were thought of.
    pub left_out: Vec<LeftOut>,
}

impl Unanswered {
    /// The node that would have to be awake for a local model to answer, if one was left out for that: the caller may propose to wake it.
    pub fn node(&self) -> Option<&Target> {
        self.left_out.iter().find_map(|one| one.fault.node.as_ref())
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left_out.is_empty() {
            return f.write_str("no reasoner is configured");
        }
        for (n, one) in self.left_out.iter().enumerate() {
            write!(f, "{}{}: {}", if n > 0 { "; " } else { "" }, one.reasoner, one.fault)?;
        }
        Ok(())
    }
}

impl std::error::Error for Unanswered {}

/// What a reasoner did since the start; for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Answers from the model.
    pub answers: u64,
    /// Answers from the cache.
    pub cached: u64,
    /// Answers that had to be asked for twice because the first did not match.
    pub repaired: u64,
    /// Requests sent, repetitions included.
    pub requests: u64,
    /// What was used up.
    pub usage: TokenUsage,
    /// Why it did not answer, by the class's name; also when it was not asked.
    pub faults: BTreeMap<String, u64>,
}

struct Seat {
    reasoner: Arc<dyn Reasoner>,
    spec: ReasonerSpec,
    price: Price,
    only_for: Option<BTreeSet<QuestionPurpose>>,
}

#[derive(Default)]
struct Desk {
    spent: Spent,
    cache: Cache,
    breakers: Vec<Breaker>,
    counts: Vec<Counts>,
}

/// The reasoners in the order in which they are asked.
pub struct Chain {
    seats: Vec<Seat>,
    settings: ChainSettings,
    desk: Mutex<Desk>,
    under_way: Semaphore,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let specs: Vec<&ReasonerSpec> = self.seats.iter().map(|seat| &seat.spec).collect();
        f.debug_struct("Chain").field("reasoners", &specs).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A call that was booked; dropped unsettled (its future was dropped), the booking stays as it is.
struct Ticket<'a> {
    chain: &'a Chain,
    seat: usize,
    booking: Booking,
    settled: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.chain.desk().breakers[self.seat].release();
        }
    }
}

impl Chain {
    /// Checks and builds. Members stay in their order, but local ones come first. Every problem is listed.
    pub fn new(members: Vec<Member>, settings: ChainSettings) -> Result<Chain, Vec<String>> {
        let mut problems = [settings.budget.problems(), settings.cache.problems(), settings.breaker.problems()].concat();
        if !(1..=64).contains(&settings.questions_max) {
            problems.push(format!("`questions_max` is {}, expected 1 to 64", settings.questions_max));
        }
        let seat = |member: Member| {
            let Member { reasoner, price, only_for } = member;
            Seat { spec: reasoner.spec(), reasoner, price, only_for }
        };
        let mut seats: Vec<Seat> = members.into_iter().map(seat).collect();
        seats.sort_by_key(|seat| seat.spec.place); // stable
        for (n, seat) in seats.iter().enumerate() {
            let id = &seat.spec.id;
            if seats[..n].iter().any(|other| other.spec.id == *id) {
                problems.push(format!("two reasoners are named `{id}`"));
            }
            if settings.budget.counts_euros() && seat.spec.place == Place::Cloud && seat.price.is_free() {
                problems.push(format!("reasoner `{id}`: a cloud without `price`; a budget in euros would not hold"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let breakers = seats.iter().map(|_| Breaker::default()).collect();
        let counts = seats.iter().map(|_| Counts::default()).collect();
        let desk = Mutex::new(Desk { breakers, counts, ..Desk::default() });
        Ok(Chain { under_way: Semaphore::new(settings.questions_max), seats, settings, desk })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was spent, calls under way at their bound. The caller keeps it, best before and after each question.
    pub fn spent(&self) -> Spent {
        self.desk().spent
    }

    /// Takes up what an earlier process spent. Call it before the first question.
    pub fn restore(&self, spent: Spent) {
        self.desk().spent = spent;
    }

    /// The reasoners, in the order in which they are asked.
    pub fn specs(&self) -> Vec<ReasonerSpec> {
        self.seats.iter().map(|seat| seat.spec.clone()).collect()
    }

    /// What each reasoner did since the start, by its name.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let names = self.seats.iter().map(|seat| seat.spec.id.clone());
        names.zip(self.desk().counts.iter().cloned()).collect()
    }

    /// Asks one after the other until one answers. A refusal, a cut answer and one that does not match end the search: they are answers.
    /// Takes at most the question's timeout. Dropping the future leaves the call booked at its bound.
    pub async fn ask(&self, clock: Clock<'_>, asking: Asking<'_>) -> Result<Answered, Unanswered> {
        let Ok(_place) = self.under_way.try_acquire() else {
            let words = format!("{} questions are under way, more are not taken", self.settings.questions_max);
            let fault = ReasonFault::new(ReasonFaultClass::Overloaded { retry_after: None }, words);
            return Err(Unanswered { left_out: vec![LeftOut { reasoner: "chain".into(), fault }] });
        };
        let started = clock();
        let mut left_out = Vec::new();
        for n in 0..self.seats.len() {
            let spec = &self.seats[n].spec;
            match self.ask_one(n, clock, started, asking).await {
                Ok((answer, cached)) => {
                    return Ok(Answered { reasoner: spec.id.clone(), place: spec.place, answer, cached, left_out });
                }
                Err(fault) => {
                    *self.desk().counts[n].faults.entry(fault.class.name().to_owned()).or_default() += 1;
                    let ends = fault.class.is_the_models_word();
                    left_out.push(LeftOut { reasoner: spec.id.clone(), fault });
                    if ends {
                        break;
                    }
                }
            }
        }
        Err(Unanswered { left_out })
    }

    /// The form of the question that this reasoner may be told.
    fn told<'a>(&self, seat: &Seat, asking: Asking<'a>) -> Result<&'a Question, ReasonFault> {
        let not_allowed = |words: String| Err(ReasonFault::new(ReasonFaultClass::NotAllowed, words));
        let purpose = asking.local.purpose;
        if seat.only_for.as_ref().is_some_and(|only| !only.contains(&purpose)) {
            return not_allowed(format!("it is not asked for `{}`", purpose.name()));
        }
        match (seat.spec.place, asking.cloud) {
            (Place::Local, _) => Ok(asking.local),
            (Place::Cloud, _) if !self.settings.cloud_for.contains(&purpose) => {
                not_allowed(format!("`cloud_for` does not list `{}`", purpose.name()))
            }
            (Place::Cloud, Some(question)) if question.purpose == purpose => Ok(question),
            (Place::Cloud, _) => not_allowed("the question has no redacted form".to_owned()),
        }
    }

    async fn ask_one(&self, n: usize, clock: Clock<'_>, started: Time, asking: Asking<'_>) -> Result<(Answer, bool), ReasonFault> {
        let seat = &self.seats[n];
        let question = self.told(seat, asking)?;
        let key = cache::key(&seat.spec, question);
        let now = clock();
        if let Some(answer) = self.desk().cached(n, now, &key, self.settings.cache) {
            return Ok((answer, true));
        }
        if let Some(node) = seat.spec.node.as_ref().filter(|node| asking.asleep.contains(*node)) {
            let fault = ReasonFault::new(ReasonFaultClass::Unreachable, format!("`{node}` sleeps, and the model lives there"));
            return Err(ReasonFault { node: Some(node.clone()), ..fault });
        }
        let left = question.timeout - now.since(started);
        if left <= Span::ZERO {
            return Err(ReasonFault::new(ReasonFaultClass::TimedOut, "the others took all the time there was"));
        }
        let ticket = self.admit(n, now, question)?;
        let result = seat.reasoner.complete(&Question { timeout: left, ..question.clone() }).await;
        self.settle(ticket, clock(), key, result)
    }

    /// Books the bound and takes the breaker's leave, or says why not.
    fn admit(&self, n: usize, now: Time, question: &Question) -> Result<Ticket<'_>, ReasonFault> {
        let seat = &self.seats[n];
        let bound = seat.reasoner.bound(question);
        let amount = Amount::new(bound, seat.price.euros(bound, REQUESTS_BILLED_MAX));
        let mut desk = self.desk();
        desk.breakers[n].admit(now)?;
        match desk.spent.book(now, &self.settings.budget, amount) {
            Ok(booking) => Ok(Ticket { chain: self, seat: n, booking, settled: false }),
            Err(fault) => {
                desk.breakers[n].release();
                Err(fault)
            }
        }
    }

    fn settle(
        &self,
        mut ticket: Ticket<'_>,
        now: Time,
        key: cache::Key,
        result: Result<Answer, ReasonFault>,
    ) -> Result<(Answer, bool), ReasonFault> {
        ticket.settled = true;
        let n = ticket.seat;
        let price = self.seats[n].price;
        let (usage, requests) =
            result.as_ref().map_or_else(|fault| (fault.usage, fault.requests), |answer| (answer.usage, answer.requests));
        let billed = if usage.total() == 0 { 0 } else { u64::from(requests).min(REQUESTS_BILLED_MAX) };
        let said = result.as_ref().ok().and_then(|answer| answer.cost_euros).filter(|euros| euros.is_finite() && *euros >= 0.0);
        let euros = said.unwrap_or_else(|| price.euros(usage, billed));
        let mut desk = self.desk();
        desk.spent.settle(now, ticket.booking, Amount::new(usage, euros));
        let health = result.as_ref().map_or_else(Health::of, |_| Health::Good);
        desk.breakers[n].after(now, health, self.settings.breaker);
        let counts = &mut desk.counts[n];
        counts.usage = counts.usage.plus(usage);
        counts.requests += u64::from(requests);
        let mut answer = result?;
        counts.answers += 1;
        counts.repaired += u64::from(answer.repaired);
        answer.cost_euros = said.or_else(|| (!price.is_free()).then_some(euros));
        desk.cache.keep(now, key, &answer, self.settings.cache);
        Ok((answer, false))
    }
}

impl Desk {
    /// An answer given before, which uses up nothing now.
    fn cached(&mut self, n: usize, now: Time, key: &cache::Key, config: CacheConfig) -> Option<Answer> {
        let answer = self.cache.find(now, key, config)?;
        self.counts[n].cached += 1;
        Some(Answer { usage: TokenUsage::default(), cost_euros: None, latency: Span::ZERO, requests: 0, ..answer })
    }
}
