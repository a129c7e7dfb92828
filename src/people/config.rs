//! The sections `people`, `roles` and `ask`, as they are written, and what is wrong in them.
//!
//! Deliberately absent: tokens and secrets. An editor breaks this by letting a name stand that nothing else defines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A person: how they come in, and what they belong to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PersonConfig {
    /// How they come in: `token:phone` (a name under `tokens`), `unix:1000` (a user of this machine, over the socket), or as they are
    /// known on a channel of `approvals`: `telegram:111222333`, `slack:U0123`, `home_assistant:<user id>`, `ntfy:phone`, `discord:guild`.
    pub logins: Vec<String>,
    /// Their teams.
    pub teams: Vec<String>,
    /// Their own roles, besides those of their teams.
    pub roles: Vec<String>,
}

/// What a role allows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoleConfig {
    /// Teams whose members all have it.
    pub teams: Vec<String>,
    /// What may be asked for, and said yes to. Every guard is still asked.
    pub may: Vec<RightConfig>,
    /// Whether they may lift what holds everything: end a pause, unlock, release a stuck run, start a drill.
    pub steer: bool,
    /// How much.
    pub quota: QuotaConfig,
}

/// Verbs on targets. `*` in a pattern stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RightConfig {
    /// Verbs: `power.wake`, `scale.*`, `*`.
    pub verbs: Vec<String>,
    /// Targets: `node/nas`, `deployment/media/*`. None: all.
    pub targets: Vec<String>,
}

/// How much may be ordered. An order counts when it is given, whatever becomes of it; what it costs is what its verb says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaConfig {
    /// Requests in any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_hour: Option<u32>,
    /// Requests in any 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
    /// Joules in any thirty days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joules_per_month: Option<f64>,
    /// Euros in any thirty days, at the price of the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub euros_per_month: Option<f64>,
    /// Whether everybody who has the role shares it; otherwise each person has their own.
    pub shared: bool,
}

/// Words of this house for `homeostat ask`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AskConfig {
    /// Other names for targets: `film server: deployment/media/jellyfin`. At most four words.
    pub aliases: BTreeMap<String, String>,
    /// Environments that can be asked for, by the name of their Kratix Promise.
    pub environments: BTreeMap<String, EnvironmentConfig>,
}

/// A kind of environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentConfig {
    /// Where its requests are made, if no namespace is said.
    pub namespace: String,
    /// The size that is made if none is said; without one, it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_default: Option<String>,
    /// The sizes by name.
    pub sizes: BTreeMap<String, SizeConfig>,
    /// Requests that are there and were not made by Homeostat, as `namespace/name`: they can be deleted by name, too.
    pub requests: Vec<String>,
}

impl Default for EnvironmentConfig {
    fn default() -> EnvironmentConfig {
        EnvironmentConfig { namespace: "default".into(), size_default: None, sizes: BTreeMap::new(), requests: Vec::new() }
    }
}

/// One size of an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SizeConfig {
    /// Its storage in bytes, so that `10 GB` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The `spec` of the request.
    pub spec: BTreeMap<String, serde_json::Value>,
}

impl SizeConfig {
    /// The spec as a JSON object.
    pub fn spec_json(&self) -> String {
        serde_json::to_string(&self.spec).unwrap_or_else(|_| "{}".into())
    }
}

/// What is wrong in the three sections: the section, the key in it, and what. `tokens`: the names of the configured tokens.
pub fn problems(
    people: &BTreeMap<String, PersonConfig>,
    roles: &BTreeMap<String, RoleConfig>,
    ask: &AskConfig,
    tokens: &BTreeSet<&str>,
) -> Vec<(&'static str, String, String)> {
    let mut problems = Vec::new();
    let mut seen = BTreeMap::<&str, &str>::new();
    for (name, person) in people {
        let mut wrong = |what: String| problems.push(("people", name.clone(), what));
        for login in &person.logins {
            match login.split_once(':') {
                Some(("token", token)) if tokens.contains(token) => {}
                Some(("token", token)) => wrong(format!("`{login}`: there is no token `{token}` under `tokens`")),
                Some(("unix", uid)) if uid.parse::<u32>().is_ok() => {}
                // By these names answers come in over the channels of `approvals`.
                Some(("telegram" | "slack" | "home_assistant" | "ntfy" | "discord", id)) if !id.is_empty() => {}
                _ => wrong(format!(
                    "`{login}` is no login: expected `token:<name>` or `unix:<uid>`, or a channel's, such as `telegram:<id>`"
                )),
            }
            if let Some(other) = seen.insert(login, name) {
                wrong(format!("`{login}` is a login of `{other}`, too"));
            }
        }
        for role in person.roles.iter().filter(|role| !roles.contains_key(*role)) {
            wrong(format!("there is no role `{role}` under `roles`"));
        }
    }
    for (name, role) in roles {
        let mut wrong = |what: String| problems.push(("roles", name.clone(), what));
        if role.may.iter().any(|right| right.verbs.is_empty()) {
            wrong("a right without `verbs` allows nothing".into());
        }
        for (field, most) in [("joules_per_month", role.quota.joules_per_month), ("euros_per_month", role.quota.euros_per_month)] {
            if most.is_some_and(|most| !(most.is_finite() && most >= 0.0)) {
                wrong(format!("`quota.{field}` is {}, expected 0 or more", most.unwrap_or_default()));
            }
        }
    }
    let steers = |person: &PersonConfig| {
        roles.iter().any(|(role, config)| {
            config.steer && (person.roles.contains(role) || config.teams.iter().any(|team| person.teams.contains(team)))
        })
    };
    if !people.is_empty() && !people.values().any(|person| !person.logins.is_empty() && steers(person)) {
        problems.push(("people", String::new(), "nobody who can come in has a role with `steer`: who would end a pause?".into()));
    }
    for (alias, target) in &ask.aliases {
        if target.split_once('/').is_none_or(|(kind, name)| kind.is_empty() || name.is_empty()) {
            problems.push(("ask", "aliases".into(), format!("`{alias}`: `{target}` is not a target: expected `kind/name`")));
        }
    }
    for (promise, environment) in &ask.environments {
        let mut wrong = |what: String| problems.push(("ask", "environments".into(), format!("`{promise}`: {what}")));
        if let Some(size) = environment.size_default.as_ref().filter(|size| !environment.sizes.contains_key(*size)) {
            wrong(format!("`size_default` is `{size}`, which is none of its sizes"));
        }
        for request in environment.requests.iter().filter(|request| !request.contains('/')) {
            wrong(format!("`{request}` is no request: expected `namespace/name`"));
        }
    }
    problems
}
