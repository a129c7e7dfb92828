//! Answers to what people ask in words (`ask::understand`), from the kernel as it is now; nothing is done by asking.
//!
//! Every figure in an answer is cited: the reading with its moment, or the action that the journal explains. A request becomes a plan that
//! is shown, and runs only when a person confirms that very plan. Deliberately absent: models, and guessing; what the windows do not hold
//! is said to be unknown. An editor breaks this by stating a figure without its citation.

mod known;
mod reads;
mod rights;
mod told;

pub use known::known;

use crate::ask::{Asked, Choice, Intent, Order, Understood};
use crate::people::{Deed, People};
use crate::scores::Rules;
use homeostat_kernel::Kernel;
use homeostat_model::Time;
use serde::{Deserialize, Serialize};

/// Lines of one answer; more are counted.
const LINES_MAX: usize = 40;

/// What a line of an answer rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Citation {
    /// A reading.
    Reading {
        /// The series, as PromQL writes it.
        series: String,
        /// Its value, or why there is none.
        value: String,
        /// When it was sampled.
        at: Option<Time>,
    },
    /// An action; `homeostat explain` tells all of it.
    Action {
        /// Its number, `a12`.
        id: String,
    },
    /// A policy; `homeostat policies` tells of it.
    Policy {
        /// Its name.
        name: String,
    },
}

/// An answer in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// How the question was read.
    pub said: String,
    /// The answer, line by line.
    pub lines: Vec<String>,
    /// What it rests on.
    pub citations: Vec<Citation>,
    /// What may be asked instead, where it was not clear.
    pub choices: Vec<Choice>,
    /// The command that goes on from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Answer {
    fn line(&mut self, text: impl Into<String>) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(text.into());
        } else if self.lines.len() == LINES_MAX {
            self.lines.push("… and more".into());
        }
    }

    fn cite(&mut self, citation: Citation) {
        if !self.citations.contains(&citation) && self.citations.len() < LINES_MAX {
            self.citations.push(citation);
        }
    }
}

/// The answer to what was understood. `by` is who asks.
pub fn answer(kernel: &Kernel, rules: &Rules, people: &People, understood: &Understood, by: &str) -> Answer {
    match understood {
        Understood::Question(Asked { intent, said }) => {
            let mut answer = Answer { said: said.clone(), ..Answer::default() };
            told_of(kernel, rules, people, intent, by, &mut answer);
            if answer.lines.is_empty() {
                answer.line("Nothing is known of that now: no reading and no action in memory speaks of it.");
            }
            answer
        }
        Understood::Request(wish) => {
            let mut answer = Answer { said: wish.said.clone(), ..Answer::default() };
            answer.line(format!(
                "That is `{}` on `{}`, a {} action. Below is its plan; nothing is done yet.",
                wish.verb, wish.target, wish.class
            ));
            answer
        }
        Understood::HandsOff(order) => {
            let (line, next) = match order {
                Order::Pause { reason, lasts } => {
                    let why = reason.clone().unwrap_or_else(|| format!("asked by {by}"));
                    let end = lasts.map_or(String::new(), |span| format!(" A pause has no end of its own: lift it after {span}."));
                    (format!("Hands off: sensing goes on, nothing is sent.{end}"), format!("homeostat pause '{}'", why.replace('\'', "")))
                }
                Order::Resume => ("Acting goes on.".to_owned(), "homeostat resume".to_owned()),
            };
            match (order, people.may(by, Deed::Steer("resume"))) {
                (Order::Resume, Err(why)) => Answer { lines: vec![why], ..Answer::default() },
                _ => Answer { lines: vec![line], next: Some(next), ..Answer::default() },
            }
        }
        Understood::AskBack { question, choices } => {
            Answer { lines: vec![question.clone()], choices: choices.clone(), ..Answer::default() }
        }
        Understood::Unknown { nearest } => Answer {
            lines: vec!["That was not understood. What can be asked, for example:".into()],
            choices: nearest.iter().map(|text| Choice { text: text.clone(), as_request: text.clone() }).collect(),
            ..Answer::default()
        },
    }
}

fn told_of(kernel: &Kernel, rules: &Rules, people: &People, intent: &Intent, by: &str, answer: &mut Answer) {
    match intent {
        Intent::Status { of } => told::status(kernel, of, answer),
        Intent::Why { action, policy, target, .. } => told::why(kernel, *action, policy.as_ref(), target.as_ref(), answer),
        Intent::WhyNot { policy, target, .. } => told::why_not(kernel, policy.as_ref(), target.as_ref(), answer),
        Intent::Usage { of, resources, period } => reads::usage(kernel, of, resources, *period, answer),
        Intent::Cost { of, period } => told::cost(kernel, rules, of, *period, answer),
        Intent::Savings { of, period } => told::savings(kernel, of, *period, answer),
        Intent::Incidents { of, .. } => told::incidents(kernel, of, answer),
        Intent::Predict { of, what } => reads::predict(kernel, of, *what, answer),
        Intent::WhoMay { who, what } => rights::who_may(kernel, rules, people, (who, what, by), answer),
        Intent::PlanDrill { target, policy, .. } => told::drills(kernel, policy.as_ref(), target.as_ref(), answer),
    }
}
