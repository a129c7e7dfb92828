//! More or fewer replicas: to a number, by a number, or asked back how many.
//!
//! Deliberately absent: a number that nobody said. An editor breaks this by counting from a number of replicas that is not known.

use super::{accepts, settle, wish};
use crate::ask::grammar::{ask, choices_of, fit};
use crate::ask::known::{Known, Sought};
use crate::ask::noun::noun;
use crate::ask::words::Token;
use crate::ask::{Choice, Understood};
use homeostat_model::{Arg, Args, Target, VerbSpec};

#[derive(Copy, Clone, Debug, PartialEq)]
enum Change {
    /// To the number; the direction, if it was said.
    To(Option<bool>),
    /// By the number, up or down.
    By(bool),
    /// By one, up or down.
    One(bool),
    /// Up or down, or neither, without a number.
    Some(Option<bool>),
}
use Change::{By, One, Some as Vaguely, To};

const UP: Option<bool> = Some(true);
const DOWN: Option<bool> = Some(false);

/// The more special first: `<x>` takes whatever a word of the pattern does not.
const PATTERNS: &[(&str, Change)] = &[
    ("scale up|out <x> to <n> [replicas|replica|instances|copies|pods]", To(UP)),
    ("scale down|in <x> to <n> [replicas|replica|instances|copies|pods]", To(DOWN)),
    ("scale <x> up|out to <n> [replicas|replica|instances|copies|pods]", To(UP)),
    ("scale <x> down|in to <n> [replicas|replica|instances|copies|pods]", To(DOWN)),
    ("scale up|out <x> by <n> [more] [replicas|replica|instances|copies|pods]", By(true)),
    ("scale down|in <x> by <n> [replicas|replica|instances|copies|pods]", By(false)),
    ("scale <x> up|out by <n> [more] [replicas|replica|instances|copies|pods]", By(true)),
    ("scale <x> down|in by <n> [replicas|replica|instances|copies|pods]", By(false)),
    ("scale|set|resize|bring <x> to <n> [replicas|replica|instances|copies|pods]", To(None)),
    ("scale <x> by <n> [replicas|replica|instances|copies|pods]", Vaguely(None)),
    ("make <x> bigger|larger", Vaguely(UP)),
    ("make <x> smaller", Vaguely(DOWN)),
    ("scale up|out <x>", Vaguely(UP)),
    ("scale down|in <x>", Vaguely(DOWN)),
    ("scale <x> up|out", Vaguely(UP)),
    ("scale <x> down|in", Vaguely(DOWN)),
    ("set replicas of|for <x> to <n>", To(None)),
    ("set <x> replicas to <n>", To(None)),
    ("scale replicas of <x> to <n>", To(None)),
    ("increase|raise|grow [replicas] [of] <x> to <n> [replicas|instances|copies|pods]", To(UP)),
    ("increase|raise|grow [replicas] [of] <x> by <n> [replicas|replica|instances|copies|pods]", By(true)),
    ("decrease|reduce|lower|shrink [replicas] [of] <x> to <n> [replicas|replica|instance|instances|copies|pods]", To(DOWN)),
    ("decrease|reduce|lower|shrink [replicas] [of] <x> by <n> [replicas|replica|instances|copies|pods]", By(false)),
    ("run|start <n> replicas|instances|copies|pods of|for <x>", To(None)),
    ("i need|want <n> replicas|instances|copies|pods of|for <x>", To(None)),
    ("<n> replicas|instances|copies|pods of|for <x>", To(None)),
    ("give <x> <n> more [replicas|replica|instances|copies|pods]", By(true)),
    ("give <x> <n> replicas|replica|instances|copies|pods", To(None)),
    ("add <n> [more] [replicas|replica|instances|instance|copies|copy|pods|pod] to|of|for <x>", By(true)),
    ("add [another] replica|instance|copy|pod to|of|for <x>", One(true)),
    ("remove|drop <n> replicas|replica|instances|instance|copies|copy from|of <x>", By(false)),
    ("remove|drop replica|instance|copy from|of <x>", One(false)),
    ("i need|want <n> more replicas|replica|instances|instance|copies|copy of|for <x>", By(true)),
    ("<n> more replicas|replica|instances|instance|copies|copy|pods|pod of|for|to <x>", By(true)),
    ("<n> more [of] <x>", By(true)),
    ("another replica|instance|copy of|for <x>", One(true)),
    ("another <x>", One(true)),
    ("<n> fewer|less replicas|replica|instances|instance|copies|copy of|for <x>", By(false)),
    ("<n> fewer|less [of] <x>", By(false)),
    ("i need|want more replicas|instances|copies of <x>", Vaguely(UP)),
    ("more replicas|instances|copies of|for <x>", Vaguely(UP)),
    ("fewer|less replicas|instances|copies of|for <x>", Vaguely(DOWN)),
    ("scale <x>", Vaguely(None)),
];

pub(super) fn read(tokens: &[Token], known: &Known) -> Option<Understood> {
    let (slots, change) = PATTERNS.iter().find_map(|(pattern, change)| Some((fit(pattern, tokens)?, *change)))?;
    let number = slots.n.unwrap_or(1);
    let verb = |up: bool| known.verb(if up { "scale.up" } else { "scale.down" });
    let can = |target: &Target| [true, false].iter().any(|up| verb(*up).is_some_and(|spec| accepts(spec, target)));
    let noun = noun(slots.x, known, Sought::Thing(&can), false);
    let note = noun.note();
    let make = |target: &Target| scaled(target, change, number, &note, known);
    Some(settle(&noun, "scale {}", known, &can, &make))
}

fn scaled(target: &Target, change: Change, number: i64, note: &str, known: &Known) -> Understood {
    let now = known.replicas(target);
    let to = |up: bool, wanted: i64| to(target, up, wanted, note, known);
    let both = |list: &[Understood]| list.iter().flat_map(choices_of).collect::<Vec<Choice>>();
    match (change, now) {
        (To(said), Some(now)) if now == number => {
            let question = format!(
                "{target} has {now} replicas already{}. Then nothing is to be done.",
                said.map_or("", |_| ", whatever the direction")
            );
            ask(question, Vec::new())
        }
        (To(Some(up)), Some(now)) if up != (number > now) => {
            let question = format!("{target} has {now} replicas, so {number} is not {}. Is this meant?", if up { "up" } else { "down" });
            ask(question, both(&[to(number > now, number)]))
        }
        (To(_), Some(now)) => to(number > now, number),
        (To(Some(up)), None) => to(up, number),
        (To(None), None) => ask(
            format!("It is not known how many replicas {target} has. Is {number} more or fewer?"),
            both(&[to(true, number), to(false, number)]),
        ),
        (By(up) | One(up), Some(now)) => {
            let wanted = if up { now.saturating_add(number) } else { now.saturating_sub(number) };
            if number == 0 || wanted < 0 {
                return ask(
                    format!("{target} has {now} replicas; {number} {} cannot be. How many are wanted?", if up { "more" } else { "fewer" }),
                    Vec::new(),
                );
            }
            to(up, wanted)
        }
        (By(_) | One(_), None) => {
            ask(format!("It is not known how many replicas {target} has. How many are wanted, as in `scale {target} up to 3`?"), Vec::new())
        }
        (Vaguely(said), Some(now)) => {
            let offers: Vec<(bool, i64)> = [(true, now + 1), (true, now + 2), (false, now - 1), (false, 0)].into();
            let mut fitting: Vec<(bool, i64)> =
                offers.into_iter().filter(|(up, wanted)| said.is_none_or(|said| said == *up) && *wanted >= 0 && *wanted != now).collect();
            fitting.dedup();
            let read: Vec<Understood> = fitting.into_iter().map(|(up, wanted)| to(up, wanted)).collect();
            ask(format!("{target} has {now} replicas. How many are wanted?"), both(&read))
        }
        (Vaguely(_), None) => ask(format!("How many replicas of {target} are wanted, as in `scale {target} up to 3`?"), Vec::new()),
    }
}

fn to(target: &Target, up: bool, wanted: i64, note: &str, known: &Known) -> Understood {
    let name = if up { "scale.up" } else { "scale.down" };
    let Some(spec) = known.verb(name) else { return ask(format!("Nobody can do that here: there is no `{name}`."), Vec::new()) };
    let takes_from = |spec: &VerbSpec| spec.args.iter().any(|arg| arg.name == "from");
    let mut args = Args::from([("replicas".to_owned(), Arg::Int(wanted))]);
    if let (Some(now), true) = (known.replicas(target), takes_from(spec)) {
        args.insert("from".into(), Arg::Int(now));
    }
    wish(spec, target, args, note, known)
}

/// No replicas at all, as one way to stop a workload.
pub(super) fn to_zero(target: &Target, known: &Known) -> Vec<Choice> {
    if known.replicas(target) == Some(0) { Vec::new() } else { choices_of(&to(target, false, 0, "", known)) }
}
