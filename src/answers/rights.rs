//! Who may ask for what, from the sections `people` and `roles`; and how far policies may come with it by themselves.
//!
//! Deliberately absent: deciding; an order is looked at again when it is given. An editor breaks this by saying more than
//! [`People::may`] allows.

use super::Answer;
use crate::ask::{May, Who};
use crate::people::{Deed, People, RoleConfig};
use crate::scores::Rules;
use homeostat_kernel::Kernel;
use homeostat_model::{Autonomy, Target, Verb};

/// `asked`: who, what, and the login that asks.
pub(super) fn who_may(kernel: &Kernel, rules: &Rules, people: &People, asked: (&Who, &May, &str), answer: &mut Answer) {
    let (who, what, by) = asked;
    if people.rules() {
        by_roles(people, who, what, by, answer);
    } else {
        without_roles(who, what, by, answer);
    }
    let May::Act { verbs, .. } = what else { return };
    for verb in verbs {
        let Some(spec) = kernel.verb_spec(verb) else { continue };
        let most = rules.arbiter.autonomy.get(&spec.class).copied().unwrap_or(Autonomy::Suggest);
        answer.line(format!(
            "Policies may come to `{}` with `{verb}`, which is {}; `homeostat autonomy` has what each has earned.",
            most.name(),
            spec.class
        ));
    }
}

fn without_roles(who: &Who, what: &May, by: &str, answer: &mut Answer) {
    let asked = match who {
        Who::Me => by.to_owned(),
        Who::Anyone => "whoever has a token or the socket".to_owned(),
        Who::Person(name) | Who::Team(name) => {
            answer.line(format!("The configuration names no person or team; `{name}` may do what the token that it holds may."));
            return;
        }
    };
    match what {
        May::Approve => answer.line(format!("{asked} may answer what waits for a person; policies and models may not.")),
        May::HandsOff => answer.line(format!("{asked} may pause and resume.")),
        May::Anything | May::Act { .. } => answer.line(format!("{asked} may order it; every guard is still asked.")),
    }
}

fn by_roles(people: &People, who: &Who, what: &May, by: &str, answer: &mut Answer) {
    let names: Vec<&str> = match who {
        Who::Anyone => people.names().collect(),
        Who::Me => match people.who(by) {
            Some(name) => vec![name],
            None => {
                answer.line(format!(
                    "`{by}` is no login of anybody under `people`: it may look and ask, say no and pause, and orders nothing."
                ));
                return;
            }
        },
        Who::Person(name) => vec![name.as_str()],
        Who::Team(team) => people.members(team).collect(),
    };
    let before = answer.lines.len();
    for name in &names {
        one(people, name, what, *who != Who::Anyone, answer);
    }
    if answer.lines.len() == before {
        let who = if let Who::Team(team) = who { format!("Nobody in {team}") } else { "Nobody".to_owned() };
        answer.line(format!("{who} may ask for that."));
    }
    if matches!(what, May::HandsOff) {
        answer.line("Pausing is for whoever has a token or the socket.");
    }
    if !matches!(what, May::HandsOff) {
        answer.line("Every guard is still asked, whoever orders.");
    }
}

/// What one person may; a no is said only where they were asked about.
fn one(people: &People, name: &str, what: &May, asked_about: bool, answer: &mut Answer) {
    let roles = people.roles_of(name);
    let mut yes = |what: &str, (role, config): &(&str, &RoleConfig)| {
        let quota = config.quota.words().map_or(String::new(), |words| format!(", {words}"));
        answer.line(format!("{name} may {what} (role {role}{quota})."));
    };
    let mut any = false;
    match what {
        May::HandsOff => roles.iter().filter(|(_, config)| config.steer).take(1).for_each(|role| {
            any = true;
            yes("pause and resume", role);
        }),
        May::Act { verbs, target } => {
            for verb in verbs {
                let Some(role) = roles.iter().find(|(_, config)| !on(config, verb, target.as_ref()).is_empty()) else { continue };
                any = true;
                yes(&format!("ask for `{verb}` on {}", on(role.1, verb, target.as_ref())), role);
            }
        }
        May::Anything | May::Approve => {
            let begin = if *what == May::Approve { "say yes to" } else { "ask for" };
            for role in roles.iter().filter(|(_, config)| !config.may.is_empty() || config.steer) {
                any = true;
                let mut parts: Vec<String> =
                    role.1.may.iter().map(|right| format!("{} on {}", listed(&right.verbs), targets(&right.targets))).collect();
                if role.1.steer && *what == May::Anything {
                    parts.push("the end of a pause, a lock or a stuck run".into());
                }
                if !parts.is_empty() {
                    yes(&format!("{begin} {}", parts.join("; ")), role);
                }
            }
        }
    }
    if !any && asked_about {
        let roles: Vec<&str> = roles.iter().map(|(role, _)| *role).collect();
        let roles = if roles.is_empty() { "no role".to_owned() } else { format!("the roles {}", roles.join(", ")) };
        answer.line(format!("{name} may not: {name} has {roles}. Looking, asking, saying no and pausing are for everybody."));
        if let May::Act { verbs, target: Some(target) } = what
            && let [verb] = verbs.as_slice()
        {
            answer.line(people.told_holders(Deed::Do(verb, target)));
        }
    }
}

/// On which targets a role allows a verb, in words; empty: on none, or not on the one that is asked about.
fn on(role: &RoleConfig, verb: &Verb, target: Option<&Target>) -> String {
    let mut covering = role.may.iter().filter(|right| right.covers(verb.as_str(), target.map(Target::as_str)));
    match (covering.next(), target) {
        (None, _) => String::new(),
        (Some(_), Some(target)) => format!("`{target}`"),
        (Some(right), None) => targets(&right.targets),
    }
}

fn targets(patterns: &[String]) -> String {
    if patterns.is_empty() { "everything".to_owned() } else { listed(patterns) }
}

fn listed(patterns: &[String]) -> String {
    patterns.iter().map(|pattern| format!("`{pattern}`")).collect::<Vec<_>>().join(", ")
}
