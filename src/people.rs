//! Who is who, and who may ask for what: the sections `people`, `roles` and `ask` of the configuration, and the decisions they make.
//!
//! Without `people` whoever has a token or the socket may order everything, as before. With it, a login that belongs to nobody may look
//! and ask, and orders nothing; a person may do what some role of theirs allows, within that role's quota. Looking, asking, saying no and
//! stopping (`deny`, `never`, `pause`) stay with everybody who has a token: they only ever make the house do less. Deliberately absent: the
//! tokens themselves (`tokens`), the arbiter (a right to ask passes no guard), and clocks. An editor breaks this by asking
//! [`People::may`] only where a plan is shown and not where it is ordered.

mod config;
#[cfg(test)]
mod tests;

pub use config::{AskConfig, EnvironmentConfig, PersonConfig, QuotaConfig, RightConfig, RoleConfig, SizeConfig, problems};

use crate::ask::{Environment, EnvironmentSize, Known};
use homeostat_model::{Span, Target, Time, Verb};
use std::collections::{BTreeMap, BTreeSet};

/// What a month of a quota is: any thirty days in a row.
pub const MONTH: Span = Span::from_hours(30 * 24);

/// Everybody, as configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct People {
    people: BTreeMap<String, PersonConfig>,
    roles: BTreeMap<String, RoleConfig>,
    ask: AskConfig,
}

/// Something that is ordered.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Deed<'a> {
    /// A verb on a target: a wish, or the yes to one.
    Do(&'a Verb, &'a Target),
    /// Lifting what holds everything: the end of a pause, a lock, a stuck run; a drill. By its name.
    Steer(&'static str),
}

/// An order of the past, for quotas: whatever became of it, it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Whose: `token:phone`.
    pub by: String,
    /// When.
    pub at: Time,
    /// What its verb says that it costs.
    pub joules: f64,
    /// The same at the price of that moment.
    pub euros: f64,
}

impl People {
    /// As configured.
    pub fn new(people: &BTreeMap<String, PersonConfig>, roles: &BTreeMap<String, RoleConfig>, ask: &AskConfig) -> People {
        People { people: people.clone(), roles: roles.clone(), ask: ask.clone() }
    }

    /// Whether rights are kept at all.
    pub fn rules(&self) -> bool {
        !self.people.is_empty()
    }

    /// Whose login this is.
    pub fn who(&self, by: &str) -> Option<&str> {
        self.people.iter().find(|(_, person)| person.logins.iter().any(|login| login == by)).map(|(name, _)| name.as_str())
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.people.keys().map(String::as_str)
    }

    /// Who is in a team, whatever its case.
    pub fn members<'a>(&'a self, team: &'a str) -> impl Iterator<Item = &'a str> {
        let is_in = |person: &PersonConfig| person.teams.iter().any(|one| one.eq_ignore_ascii_case(team));
        self.people.iter().filter(move |(_, person)| is_in(person)).map(|(name, _)| name.as_str())
    }

    /// The roles of a person, their own and those of their teams, by name.
    pub fn roles_of<'a>(&'a self, name: &str) -> Vec<(&'a str, &'a RoleConfig)> {
        let Some(person) = self.people.get(name) else { return Vec::new() };
        let has = |role: &str, config: &RoleConfig| {
            person.roles.iter().any(|own| own == role) || config.teams.iter().any(|team| person.teams.contains(team))
        };
        self.roles.iter().filter(|(role, config)| has(role, config)).map(|(role, config)| (role.as_str(), config)).collect()
    }

    /// The roles by which a person may do this; none: they may not.
    pub fn roles_for<'a>(&'a self, name: &str, deed: Deed<'_>) -> Vec<(&'a str, &'a RoleConfig)> {
        let mut roles = self.roles_of(name);
        roles.retain(|(_, role)| role.allows(deed));
        roles
    }

    /// Everybody who may do this.
    pub fn holders(&self, deed: Deed<'_>) -> Vec<&str> {
        self.names().filter(|name| !self.roles_for(name, deed).is_empty()).collect()
    }

    /// Whether this login may do this, quotas aside.
    ///
    /// # Errors
    /// Why not, and who may; one sentence or two.
    pub fn may(&self, by: &str, deed: Deed<'_>) -> Result<(), String> {
        if !self.rules() {
            return Ok(());
        }
        let what = match deed {
            Deed::Do(verb, target) => format!("`{verb}` on `{target}`"),
            Deed::Steer(what) => format!("`{what}`"),
        };
        let Some(name) = self.who(by) else {
            return Err(format!(
                "{what} needs a right: `{by}` is no login of anybody under `people`, so it may look and ask, and orders nothing. {}",
                self.told_holders(deed)
            ));
        };
        if !self.roles_for(name, deed).is_empty() {
            return Ok(());
        }
        let roles: Vec<&str> = self.roles_of(name).into_iter().map(|(role, _)| role).collect();
        let roles = if roles.is_empty() { "who has no role".to_owned() } else { format!("whose roles are: {}", roles.join(", ")) };
        Err(format!("{what} is not for {name}, {roles}. {}", self.told_holders(deed)))
    }

    /// `It may be asked for by: anna, ben.`
    pub fn told_holders(&self, deed: Deed<'_>) -> String {
        match self.holders(deed).as_slice() {
            [] => "Nobody may ask for it.".into(),
            all => format!("It may be asked for by: {}.", all.join(", ")),
        }
    }

    /// Whether there is room for one more order, and what is used up then; `None`: nothing limits it.
    ///
    /// # Errors
    /// Which quota is used up.
    pub fn room(&self, deed: Deed<'_>, next: &Past, past: &[Past]) -> Result<Option<String>, String> {
        let Some(name) = self.who(&next.by).filter(|_| self.rules()) else { return Ok(None) };
        let mut full = None;
        for (role, config) in self.roles_for(name, deed) {
            let logins = self.counted_logins(name, role, config);
            let mine: Vec<&Past> = past.iter().filter(|one| logins.contains(one.by.as_str())).collect();
            match config.quota.room(next, &mine) {
                Ok(said) => return Ok(said.map(|said| format!("{said} (role {role})"))),
                Err(said) => full = Some(format!("the quota of role {role} is used up: {said}")),
            }
        }
        full.map_or(Ok(None), Err)
    }

    /// How far back a quota of anybody looks; `None`: there are none.
    pub fn looks_back(&self) -> Option<Span> {
        self.roles.values().filter_map(|role| role.quota.looks_back()).max()
    }

    /// Whose orders count towards a role's quota: one person's, or those of all who have the role.
    fn counted_logins(&self, name: &str, role: &str, config: &RoleConfig) -> BTreeSet<&str> {
        let counts = |other: &str| other == name || (config.quota.shared && self.roles_of(other).iter().any(|(one, _)| *one == role));
        let whose = self.people.iter().filter(|(other, _)| counts(other));
        whose.flat_map(|(_, person)| person.logins.iter().map(String::as_str)).collect()
    }

    /// Makes people, teams, aliases and environments nameable. `made`: requests that were made from here, as (promise, namespace, name).
    pub fn name_in(&self, known: &mut Known, made: &[(String, String, String)]) {
        for (name, person) in &self.people {
            known.add_person(name);
            person.teams.iter().for_each(|team| known.add_team(team));
        }
        self.roles.values().flat_map(|role| &role.teams).for_each(|team| known.add_team(team));
        for (alias, target) in &self.ask.aliases {
            known.add_alias(alias, Target::from(target.as_str()));
        }
        for (promise, config) in &self.ask.environments {
            let listed = config.requests.iter().filter_map(|request| request.split_once('/'));
            let made = made.iter().filter(|(of, ..)| of == promise).map(|(_, namespace, name)| (namespace.as_str(), name.as_str()));
            let requests = listed.chain(made).map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).collect();
            let size = |size: &SizeConfig| EnvironmentSize { bytes: size.bytes, spec: size.spec_json() };
            let sizes = config.sizes.iter().map(|(name, one)| (name.clone(), size(one))).collect();
            let environment =
                Environment { namespace: config.namespace.clone(), size_default: config.size_default.clone(), sizes, requests };
            known.add_environment(promise, environment);
        }
    }
}

impl RoleConfig {
    fn allows(&self, deed: Deed<'_>) -> bool {
        match deed {
            Deed::Do(verb, target) => self.may.iter().any(|right| right.covers(verb.as_str(), Some(target.as_str()))),
            Deed::Steer(_) => self.steer,
        }
    }
}

impl RightConfig {
    /// Whether a verb is meant, and a target if one is given.
    pub fn covers(&self, verb: &str, target: Option<&str>) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|pattern| fits(pattern, text));
        any(&self.verbs, verb) && (self.targets.is_empty() || target.is_none_or(|target| any(&self.targets, target)))
    }
}

impl QuotaConfig {
    fn looks_back(&self) -> Option<Span> {
        let monthly = self.joules_per_month.is_some() || self.euros_per_month.is_some();
        let spans = [
            monthly.then_some(MONTH),
            self.requests_per_day.map(|_| Span::from_hours(24)),
            self.requests_per_hour.map(|_| Span::from_hours(1)),
        ];
        spans.into_iter().flatten().max()
    }

    fn room(&self, next: &Past, past: &[&Past]) -> Result<Option<String>, String> {
        let within = |span: Span| past.iter().filter(move |one| next.at.since(one.at) < span);
        let mut said = Vec::new();
        for (most, span, words) in
            [(self.requests_per_hour, Span::from_hours(1), "in an hour"), (self.requests_per_day, Span::from_hours(24), "in a day")]
        {
            let Some(most) = most else { continue };
            let count = within(span).count() + 1;
            if count > most as usize {
                return Err(format!("{most} requests {words}"));
            }
            said.push(format!("request {count} of {most} {words}"));
        }
        type Of = fn(&Past) -> f64;
        let sums: [(Option<f64>, Of, &str); 2] =
            [(self.joules_per_month, |one| one.joules, "J"), (self.euros_per_month, |one| one.euros, "€")];
        for (most, of, unit) in sums {
            let Some(most) = most else { continue };
            let sum = within(MONTH).map(|one| of(one)).sum::<f64>() + of(next);
            let shown = |value: f64| if unit == "€" { format!("{value:.2} €") } else { format!("{value:.0} J") };
            if sum > most {
                return Err(format!("{} in thirty days, and this would make it {}", shown(most), shown(sum)));
            }
            said.push(format!("{} of {} in thirty days", shown(sum), shown(most)));
        }
        Ok((!said.is_empty()).then(|| said.join(", ")))
    }

    /// What it allows, in words; `None`: it limits nothing.
    pub fn words(&self) -> Option<String> {
        let parts = [
            self.requests_per_hour.map(|most| format!("{most} requests an hour")),
            self.requests_per_day.map(|most| format!("{most} requests a day")),
            self.joules_per_month.map(|most| format!("{most:.0} J in thirty days")),
            self.euros_per_month.map(|most| format!("{most:.2} € in thirty days")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let together = if self.shared { ", all together" } else { "" };
        (!parts.is_empty()).then(|| format!("at most {}{together}", parts.join(", ")))
    }
}

/// Whether a text is what a pattern says; `*` stands for any characters, none included.
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}
