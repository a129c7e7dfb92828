//! The configuration: `homeostat.yaml`, read once at start and again when it changes.
//!
//! Everything is optional; no file at all means: read this host, write notices to the log, run the shipped policies. A file is read
//! in three steps: text to a tree with places (`tree`), the tree against the schema (`check`: unknown fields, wrong kinds, missing
//! fields, all at once), then the typed structs and what only the world can say (secrets). Every problem names its line.
//! Deliberately absent: the plugs' own fields (they stand in the plugs' config structs), environment overrides, includes, and hands-off
//! (that lives in the journal, so that no file can undo a person's stop). An editor breaks it by adding a field without a
//! doc comment (the schema and `docs/config.md` are made from those), or by showing a literal secret in a message.

pub mod around;
mod check;
mod problem;
mod reasoning;
mod reference;
mod schemas;
mod sections;
mod sensors;
#[cfg(test)]
mod tests;
mod tree;

pub use around::TopologyConfig;
pub use problem::{ConfigError, Problem};
pub use reasoning::{LokiConfig, ReasoningConfig};
pub use reference::{reference, schema};
pub use schemas::{SchemaOf, schema_of};
pub use sections::{
    ArbiterConfig, DigestConfig, DigestFile, JournalConfig, McpConfig, PerClass, PlaybooksConfig, PoliciesConfig, PolicyOverrideConfig,
    SamplesConfig, StoreConfig, WebhooksConfig,
};
pub use sensors::SensorConfig;

use crate::journal::JournalSettings;
use crate::people::{AskConfig, PersonConfig, RoleConfig};
use crate::samples::SampleSettings;
use homeostat_actuators::ActuatorsConfig;
use homeostat_channels::ApprovalsConfig;
use homeostat_model::Secret;
use homeostat_reasoners::ReasonersConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tree::{Node, NodeKind};

/// A larger file is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The whole of `homeostat.yaml`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder for journal, sample log and receipts. Without it: `$STATE_DIRECTORY`, else `/var/lib/homeostat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Where the HTTP interface listens: pages, API, webhooks and `/metrics`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The Unix socket of the command line. Without it: `homeostat.sock` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Who may give orders over HTTP, by name: `phone: ${env:PHONE_TOKEN}`. Without any, HTTP only shows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, sections::SecretText>")]
    pub tokens: BTreeMap<String, Secret>,
    /// Agents: who may look, ask and propose, and nothing else. Read at the start only.
    pub mcp: McpConfig,
    /// Names by which this machine may be asked over HTTP, besides `localhost` and addresses: `homeostat.lan`. Other names are refused,
    /// so that a page from elsewhere cannot ask in a browser's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// What is read, by name. Without this section: this host.
    pub sensors: BTreeMap<String, SensorConfig>,
    /// How alert senders prove themselves, and how much they may send.
    pub webhooks: WebhooksConfig,
    /// What Homeostat may do. Without this section: write notices to the log.
    pub actuators: ActuatorsConfig,
    /// Where people are asked, besides the command line and HTTP. Read at the start only.
    pub approvals: ApprovalsConfig,
    /// Where policies come from, and what is changed in them.
    pub policies: PoliciesConfig,
    /// Where playbooks come from.
    pub playbooks: PlaybooksConfig,
    /// How proposals are ruled.
    pub arbiter: ArbiterConfig,
    /// What hangs on what, who else steers what, and what is healthy.
    pub topology: TopologyConfig,
    /// Which language models there are, in which order they are asked, and what they may use up. Without this section: none.
    pub reasoners: ReasonersConfig,
    /// When models are asked, how far their proposals may go, and what they may look at.
    pub reasoning: ReasoningConfig,
    /// Who is who, by name. Without this section whoever has a token or the socket may order everything. Read at the start only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub people: BTreeMap<String, PersonConfig>,
    /// What people may ask for and how much of it, by name. Read at the start only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, RoleConfig>,
    /// Words of this house for `homeostat ask`: other names, and environments. Read at the start only.
    pub ask: AskConfig,
    /// What people are told every week.
    pub digest: DigestConfig,
    /// The limits of the windows in memory.
    pub store: StoreConfig,
    /// How long events and effects are kept.
    pub journal: JournalConfig,
    /// How long ticks and reads are kept.
    pub samples: SamplesConfig,
}

impl Default for Config {
    fn default() -> Config {
        let host = SensorConfig::Host(Default::default());
        Config {
            data: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 9797)),
            socket: None,
            tokens: BTreeMap::new(),
            mcp: McpConfig::default(),
            hosts: Vec::new(),
            sensors: BTreeMap::from([("host".to_owned(), host)]),
            webhooks: WebhooksConfig::default(),
            actuators: ActuatorsConfig::default(),
            approvals: ApprovalsConfig::default(),
            policies: PoliciesConfig::default(),
            playbooks: PlaybooksConfig::default(),
            arbiter: ArbiterConfig::default(),
            topology: TopologyConfig::default(),
            reasoners: ReasonersConfig::default(),
            reasoning: ReasoningConfig::default(),
            people: BTreeMap::new(),
            roles: BTreeMap::new(),
            ask: AskConfig::default(),
            digest: DigestConfig::default(),
            store: StoreConfig::default(),
            journal: JournalConfig::default(),
            samples: SamplesConfig::default(),
        }
    }
}

/// What the loader asks the world for: environment and files.
pub struct Outside<'a> {
    /// An environment variable's value.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// A small file's text.
    pub read: &'a dyn Fn(&str) -> std::io::Result<String>,
}

impl Outside<'_> {
    /// The process's own environment and files.
    pub fn real() -> Outside<'static> {
        Outside { env: &|name| std::env::var(name).ok(), read: &|path| std::fs::read_to_string(path) }
    }
}

impl Config {
    /// Reads a file. `None` gives the defaults.
    ///
    /// # Errors
    /// Every problem that could be found, each with its place.
    pub fn load(path: Option<&Path>, outside: &Outside<'_>) -> Result<Config, ConfigError> {
        let Some(path) = path else { return Ok(Config::default()) };
        let unreadable = |detail: String| ConfigError::of_file(path, detail);
        let size = std::fs::metadata(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?.len();
        if size > FILE_BYTES_MAX {
            return Err(unreadable(format!("has {size} bytes, at most {FILE_BYTES_MAX} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        Config::parse(&text, path, outside)
    }

    /// Reads a text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path, outside: &Outside<'_>) -> Result<Config, ConfigError> {
        let mut tree = tree::parse(text).map_err(|problem| ConfigError::new(path, text, vec![problem], None))?;
        if matches!(tree.kind, NodeKind::Null) {
            return Ok(Config::default());
        }
        let mut problems = check::check(&schema(), &mut tree, text);
        let credentials = tree.credentials();
        let fail = |problems| ConfigError::new(path, text, problems, Some(&credentials));
        problems.extend(unresolved(&tree, outside));
        if !problems.is_empty() {
            return Err(fail(problems));
        }
        let config = typed(&tree).map_err(fail)?;
        let problems = config.semantic_problems(&tree);
        if problems.is_empty() { Ok(config) } else { Err(fail(problems)) }
    }

    /// The data folder: the configured one, else `$STATE_DIRECTORY`, else `/var/lib/homeostat`.
    pub fn data_dir(&self, outside: &Outside<'_>) -> PathBuf {
        let by_systemd = || (outside.env)("STATE_DIRECTORY").filter(|dir| !dir.is_empty());
        match &self.data {
            Some(dir) => dir.clone(),
            None => PathBuf::from(by_systemd().unwrap_or_else(|| "/var/lib/homeostat".into())),
        }
    }

    /// The Unix socket: the configured one, else in the data folder.
    pub fn socket_path(&self, data: &Path) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| data.join("homeostat.sock"))
    }

    /// The journal's settings, the sample log's among them.
    pub fn journal_settings(&self) -> JournalSettings {
        let SamplesConfig { retention, bytes_max, segment_bytes_max, segment_age_max } = self.samples.clone();
        JournalSettings {
            retention: self.journal.retention,
            bytes_max: self.journal.bytes_max,
            sync_every: self.journal.sync_every,
            samples: SampleSettings { retention, bytes_max, segment_bytes_max, segment_age_max },
        }
    }

    /// What the types cannot say: references between sections.
    fn semantic_problems(&self, tree: &Node) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.listen.ip().is_loopback() && self.webhooks.open_to_everybody() {
            let hint = "an address that others can reach, and webhooks without authentication: everybody could post alerts; set \
                        `webhooks.grafana` and `webhooks.alertmanager`, or listen on 127.0.0.1";
            problems.push(Problem::at(tree.find(&["listen"]), hint));
        }
        let agents = self.mcp.agents.iter().map(|(name, token)| (tree.find(&["mcp", "agents", name]), name, token));
        for (node, name, token) in self.tokens.iter().map(|(name, token)| (tree.find(&["tokens", name]), name, token)).chain(agents) {
            if matches!(token, Secret::Literal(text) if text.len() < 16) {
                problems.push(Problem::at(node, format!("the token `{name}` has fewer than 16 characters: too easy to guess")));
            }
        }
        for name in self.mcp.agents.keys().filter(|name| self.tokens.contains_key(*name)) {
            let node = tree.find(&["mcp", "agents", name]);
            problems.push(Problem::at(node, format!("`{name}` stands under `tokens`, too: an agent needs a name of its own")));
        }
        for name in self.sensors.keys() {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                let message = format!("`{name}` is not a sensor's name: expected letters, digits, `-`, `_` and `.`");
                problems.push(Problem::at(tree.find(&["sensors", name]), message));
            }
        }
        problems.extend(self.around_problems(tree));
        for fault in self.approvals.build().err().into_iter().flatten() {
            problems.push(Problem::at(tree.find(&["approvals"]), fault.detail));
        }
        for (field, why) in self.reasoning.problems(&self.reasoners) {
            problems.push(Problem::at(tree.find(&["reasoning", field]), why));
        }
        let tokens = self.tokens.keys().map(String::as_str).collect();
        for (section, key, why) in crate::people::problems(&self.people, &self.roles, &self.ask, &tokens) {
            problems.push(Problem::at(tree.find(&[section, &key]), why));
        }
        if let Err(faults) = self.reasoners.build() {
            problems.extend(faults.into_iter().map(|fault| Problem::at(tree.find(&["reasoners"]), fault.detail)));
        }
        if let Err(why) = crate::digest::span(&self.digest.span.to_string()) {
            problems.push(Problem::at(tree.find(&["digest", "span"]), format!("`digest.span`: {why}")));
        }
        let share = self.arbiter.observer_fault_ratio;
        if !(0.0..=1.0).contains(&share) {
            let node = tree.find(&["arbiter", "observer_fault_ratio"]);
            problems.push(Problem::at(node, format!("`observer_fault_ratio` is {share}, expected 0 to 1")));
        }
        problems
    }
}

impl Config {
    /// Selectors, texts with labels, and shares of the topology and of the guards that look along it.
    fn around_problems(&self, tree: &Node) -> Vec<Problem> {
        let mut problems = Vec::new();
        for problem in homeostat_kernel::topology::Source::new(self.topology.settings()).problems() {
            problems.push(Problem::at(tree.find(&["topology"]), problem.clone()));
        }
        let witnesses = &self.arbiter.witnesses;
        let selectors = witnesses.rules.iter().map(|rule| &rule.series).chain(&witnesses.gateway).chain(&witnesses.reach);
        let mut found: Vec<String> =
            selectors.filter_map(|text| homeostat_kernel::store::Selector::parse(text).err()).map(|error| error.to_string()).collect();
        found.extend(witnesses.rules.iter().filter_map(|rule| homeostat_kernel::topology::Template::parse(&rule.target).err()));
        problems.extend(found.into_iter().map(|problem| Problem::at(tree.find(&["arbiter", "witnesses"]), problem)));
        let blast = &self.arbiter.blast;
        for (name, share) in [("same_kind_share_max", blast.same_kind_share_max), ("dependants_share_max", blast.dependants_share_max)] {
            if !(0.0..=1.0).contains(&share) {
                problems.push(Problem::at(tree.find(&["arbiter", "blast", name]), format!("`{name}` is {share}, expected 0 to 1")));
            }
        }
        for window in &self.arbiter.calendar.windows {
            if window.classes.is_empty() {
                let text = format!("the window `{}` names no classes: it does nothing", window.name);
                problems.push(Problem::at(tree.find(&["arbiter", "calendar", "windows"]), text));
            }
        }
        problems
    }
}

/// Turns the checked tree into the structs, section by section and sensor by sensor, so that one mistake does not hide another.
fn typed(tree: &Node) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut whole = tree.to_json();
    if let (Some(sensors), Some(nodes)) = (whole.get_mut("sensors").and_then(|value| value.as_object_mut()), tree.find_exact(&["sensors"]))
    {
        for (name, value) in sensors.iter_mut() {
            if let Some(fields) = value.as_object_mut() {
                fields.insert("name".into(), name.clone().into());
            }
            if let Err(error) = SensorConfig::deserialize(&*value) {
                let node = nodes.child(name).unwrap_or(nodes);
                problems.push(Problem::at(node.blamed(&error.to_string()), error.to_string()));
            }
        }
    }
    let Some(sections) = whole.as_object() else { return Err(vec![Problem::at(tree, "expected a map of sections")]) };
    for (name, value) in sections.iter().filter(|(name, _)| *name != "sensors") {
        let alone = serde_json::Value::Object([(name.clone(), value.clone())].into_iter().collect());
        if let Err(error) = Config::deserialize(&alone) {
            let node = tree.find(&[name]);
            problems.push(Problem::at(node.blamed(&error.to_string()), error.to_string()));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut config = Config::deserialize(&whole).map_err(|error| vec![Problem::at(tree, error.to_string())])?;
    if let Some(power) = &mut config.actuators.power {
        // Wear is held against energy at the price of most of the day; the cheap hours are not known at the time of a boot.
        power.euros_per_kwh = config.arbiter.tariff.euros_per_kwh;
    }
    Ok(config)
}

/// Every reference to a secret that cannot be had now. A literal is never looked at, so it can never be shown.
fn unresolved(node: &Node, outside: &Outside<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    node.each_text(&mut |node, text| {
        if !(text.starts_with("${env:") || text.starts_with("${file:")) || !text.ends_with('}') {
            return;
        }
        let found = Secret::parse(text).and_then(|secret| secret.resolve(outside.env, outside.read));
        match found {
            Ok(value) if value.is_empty() => problems.push(Problem::at(node, format!("{text} is empty"))),
            Ok(_) => {}
            Err(why) => problems.push(Problem::at(node, why)),
        }
    });
    problems
}
