//! Our own metrics, as OpenMetrics: the kernel's counters, the driver's state, and what this process costs.
//!
//! A page is plain data first ([`families`]), then text ([`text`]). Labels come from closed sets or from configured names, never
//! from what senders write, so their number is bounded by the configuration. An editor breaks this by labelling with a target or an
//! alert's name.

use super::webhooks::WebhookStatus;
use crate::approvals::{ApprovalsStatus, ChannelStatus};
use crate::live::{DaemonStatus, SensorStatus};
use crate::scores::Rules;
use homeostat_kernel::Kernel;
use homeostat_kernel::kernel::{PolicyView, Stats};
use homeostat_kernel::ledger::Spent;
use homeostat_kernel::store::{Store, StoreStats};
use homeostat_model::{Health, Time};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;

mod learned;

use learned::Learned;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A family of samples. Counters carry no `_total` here; the text adds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, `homeostat_…`.
    pub name: String,
    /// What it means, with its unit.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// Labels and values.
    pub samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// What a page is made from.
pub struct Facts<'a> {
    /// The driver's state.
    pub daemon: &'a DaemonStatus,
    /// What was read from the kernel; `None` if it did not answer.
    pub kernel: Option<&'a KernelFacts>,
    /// The rules in force; `None` if they could not be read.
    pub rules: Option<&'a Rules>,
    /// Deliveries by source.
    pub webhooks: &'a BTreeMap<&'static str, WebhookStatus>,
    /// How people are asked on their channels; `None` if there are none.
    pub approvals: Option<&'a ApprovalsStatus>,
    /// Answers by HTTP status class: `2xx` …
    pub answers: &'a BTreeMap<&'static str, u64>,
    /// Connections that were closed at once because there were too many.
    pub connections_refused: u64,
    /// What this process costs.
    pub process: Option<Process>,
}

/// What the kernel is asked for.
#[derive(Clone, Debug, Default)]
pub struct KernelFacts {
    stats: Stats,
    policies: Vec<PolicyView>,
    observer_faults: Vec<String>,
    phases: BTreeMap<&'static str, u64>,
    hands_off_since: Option<Time>,
    alerts_firing: u64,
    alerts_known: u64,
    alerts_refused: u64,
    illegal_moves: u64,
    targets: u64,
    spent_day: Spent,
    store: StoreStats,
    learned: Learned,
}

impl KernelFacts {
    /// Reads them.
    pub fn of(kernel: &Kernel) -> KernelFacts {
        let ledger = kernel.ledger();
        let mut phases: BTreeMap<&'static str, u64> = BTreeMap::new();
        for state in ledger.actions() {
            *phases.entry(state.phase.name()).or_default() += 1;
        }
        KernelFacts {
            stats: kernel.stats().clone(),
            policies: kernel.policies(),
            observer_faults: kernel.observer_faults(),
            phases,
            hands_off_since: ledger.hands_off().map(|hands_off| hands_off.since),
            alerts_firing: ledger.alerts().filter(|known| known.firing).count() as u64,
            alerts_known: ledger.alerts().count() as u64,
            alerts_refused: ledger.alerts_refused(),
            illegal_moves: ledger.illegal_moves(),
            targets: kernel.units_len() as u64,
            spent_day: kernel.spent_day(),
            store: kernel.with_store(Store::stats),
            learned: Learned::of(ledger, kernel.now()),
        }
    }
}

/// What this process costs, from `/proc/self`.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Process {
    /// Memory in use, in bytes.
    pub resident_bytes: f64,
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Open files.
    pub open_fds: f64,
}

/// Clock ticks per second in `/proc/<pid>/stat`: `USER_HZ`, 100 on every architecture that Linux and Rust share (proc(5)).
const USER_HZ: f64 = 100.0;

impl Process {
    /// Of this process; `None` where there is no `/proc`.
    pub fn read() -> Option<Process> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count() as f64;
        Process::parse(&status, &stat).map(|process| Process { open_fds, ..process })
    }

    fn parse(status: &str, stat: &str) -> Option<Process> {
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: f64 = rss.trim().strip_suffix("kB")?.trim().parse().ok()?;
        // The name in parentheses may hold anything; fields count from behind it: 14 utime, 15 stime.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        Some(Process { resident_bytes: kilobytes * 1024.0, cpu_seconds: (ticks()? + ticks()?) / USER_HZ, open_fds: 0.0 })
    }
}

/// Collects families.
#[derive(Default)]
struct Page(Vec<Family>);

impl Page {
    fn put(&mut self, is_counter: bool, name: &str, help: &'static str, samples: Vec<(Vec<(&'static str, String)>, f64)>) {
        self.0.push(Family { name: format!("homeostat_{name}"), help, is_counter, samples });
    }
    fn counter(&mut self, name: &str, help: &'static str, value: u64) {
        self.put(true, name, help, vec![(Vec::new(), value as f64)]);
    }
    fn gauge(&mut self, name: &str, help: &'static str, value: f64) {
        self.put(false, name, help, vec![(Vec::new(), value)]);
    }
    fn counters<K: ToString>(&mut self, name: &str, help: &'static str, label: &'static str, by: impl IntoIterator<Item = (K, u64)>) {
        self.put(true, name, help, by.into_iter().map(|(key, value)| (vec![(label, key.to_string())], value as f64)).collect());
    }
    fn gauges<K: ToString>(&mut self, name: &str, help: &'static str, label: &'static str, by: impl IntoIterator<Item = (K, f64)>) {
        self.put(false, name, help, by.into_iter().map(|(key, value)| (vec![(label, key.to_string())], value)).collect());
    }
}

/// The page as data.
pub fn families(facts: &Facts<'_>) -> Vec<Family> {
    let mut page = Page::default();
    daemon(&mut page, facts.daemon);
    sensors(&mut page, &facts.daemon.sensors);
    if let Some(kernel) = facts.kernel {
        stats(&mut page, &kernel.stats);
        state(&mut page, kernel);
        policies(&mut page, kernel);
        learned::families(&mut page, &kernel.learned, facts.rules);
    }
    http(&mut page, facts);
    if let Some(status) = facts.approvals {
        approvals(&mut page, status);
    }
    if let Some(process) = facts.process {
        page.gauge("process_resident_memory_bytes", "Memory of this process, in bytes", process.resident_bytes);
        page.put(true, "process_cpu_seconds", "Processor time of this process, in seconds", vec![(Vec::new(), process.cpu_seconds)]);
        page.gauge("process_open_fds", "Open files of this process", process.open_fds);
    }
    page.0
}

fn daemon(page: &mut Page, daemon: &DaemonStatus) {
    let build = vec![("version", daemon.version.clone()), ("build", daemon.build.clone())];
    page.put(false, "build_info", "1, with the version and build", vec![(build, 1.0)]);
    page.gauge("start_time_seconds", "When the daemon started, in seconds since the epoch", daemon.started_at.seconds());
    page.gauge("generation", "How often the daemon has started on this journal", daemon.generation as f64);
    page.gauge("ready", "1 if it does what it should", f64::from(u8::from(daemon.ready)));
    page.gauge("journal_ok", "1 if the journal can be written", f64::from(u8::from(daemon.journal.ok)));
    page.gauge("journal_seq", "Number of the journal's newest entry", daemon.journal.seq as f64);
    page.gauge("journal_bytes", "Size of the journal's table, in bytes", daemon.journal.bytes as f64);
    page.gauge("sample_log_bytes", "Size of the sample log, in bytes", daemon.journal.sample_log_bytes as f64);
    page.counter("kernel_panics", "Kernel panics since the start", daemon.panics);
    page.gauge("batch_max_seconds", "The longest batch of the last minutes, in seconds", daemon.batch_max_ms / 1000.0);
    let queues = &daemon.queues;
    page.gauges("queue_len", "What waits in a queue", "queue", queues.iter().map(|(name, queue)| (name, queue.len as f64)));
    page.gauges("queue_capacity", "What may wait in a queue", "queue", queues.iter().map(|(name, queue)| (name, queue.capacity as f64)));
    page.counters("queue_refused", "What a full queue refused", "queue", queues.iter().map(|(name, queue)| (name, queue.refused)));
}

fn sensors(page: &mut Page, sensors: &[SensorStatus]) {
    let health = |sensor: &SensorStatus| match sensor.health {
        Health::Ok => 2.0,
        Health::Degraded => 1.0,
        Health::Blind => 0.0,
    };
    let gauge = |of: fn(&SensorStatus) -> f64| sensors.iter().map(move |sensor| (&sensor.name, of(sensor)));
    page.gauges("sensor_health", "2: sees everything, 1: sees something, 0: blind", "sensor", gauge(health));
    page.gauges("sensor_samples", "Samples of the last read", "sensor", gauge(|s| s.samples_last as f64));
    page.gauges("sensor_faults", "Faults of the last read", "sensor", gauge(|s| s.faults.len() as f64));
    page.gauges("sensor_read_duration_seconds", "Duration of the last read, in seconds", "sensor", gauge(|s| s.read_duration_ms / 1000.0));
    let last = sensors.iter().filter_map(|sensor| Some((&sensor.name, sensor.last_read_at?.seconds())));
    page.gauges("sensor_last_read_time_seconds", "When it last read, in seconds since the epoch", "sensor", last);
    let counter = |of: fn(&SensorStatus) -> u64| sensors.iter().map(move |sensor| (&sensor.name, of(sensor)));
    page.counters("sensor_reads", "Reads", "sensor", counter(|s| s.reads));
    page.counters("sensor_reads_failed", "Reads that saw nothing", "sensor", counter(|s| s.reads_failed));
    page.counters("sensor_reads_missed", "Reads that did not happen because the one before was under way", "sensor", counter(|s| s.missed));
}

fn stats(page: &mut Page, stats: &Stats) {
    page.counter("events", "Events handled", stats.events);
    page.counter("observations", "Sensor reads taken in", stats.observations);
    page.counter("samples", "Samples taken in", stats.samples);
    page.counter("out_of_order", "Samples dropped because they were too late", stats.out_of_order);
    page.counter("duplicates", "Samples dropped because another value stood there", stats.duplicates);
    page.counter("evaluations", "Times a policy was looked at for a target", stats.evaluations);
    page.counter(
        "evaluations_retraced",
        "Of these, without running its script: it would have ended as quietly as before",
        stats.evaluations_retraced,
    );
    page.counter("evaluations_unchanged", "Slots that cost nothing because nothing had changed", stats.evaluations_unchanged);
    page.counter("undetermined", "Evaluations that ended undetermined", stats.undetermined);
    page.counter("evaluation_faults", "Evaluations that failed", stats.evaluation_faults);
    page.counter("slots_missed", "Slots skipped because they came too late", stats.slots_missed);
    page.counter("alerts", "Alerts that told something new", stats.alerts);
    page.counter("alerts_repeated", "Alerts that repeated what was known", stats.alerts_repeated);
    page.counter("loads_refused", "Rule sets refused", stats.loads_refused);
    page.counter("limits_reached", "Limits reached", stats.limits_reached);
    page.counter("acts", "Actions sent, attempts counted each", stats.acts);
    page.counter("questions", "Questions to language models", stats.questions);
    page.counter("reasoner_proposals", "Answers of language models that became a proposal", stats.proposals_of_reasoners);
    page.counter("reasoner_tokens", "Tokens that answers to questions used up", stats.reasoner_tokens);
    page.put(true, "reasoner_euros", "What answers to questions cost, in euros", vec![(Vec::new(), stats.reasoner_euros)]);
    let by = |map: &BTreeMap<&'static str, u64>| map.iter().map(|(name, value)| (*name, *value)).collect::<Vec<_>>();
    page.counters("rulings", "Rulings by verdict", "verdict", by(&stats.rulings));
    page.counters("outcomes", "Outcomes by name", "outcome", by(&stats.outcomes));
    page.counters("claims", "Judged claims by result", "result", by(&stats.claims));
    page.counters("scores", "Scored actions by finding", "finding", by(&stats.scores));
}

fn store(page: &mut Page, store: &StoreStats) {
    page.gauge("store_series", "Series with samples", store.series as f64);
    page.gauge("store_samples", "Samples in the windows", store.samples as f64);
    page.gauge("store_bytes", "Memory of windows and series, in bytes", store.bytes as f64);
    page.counter("store_refused_series", "Series refused by a limit", store.refused_series);
    page.counter("store_refused_samples", "Samples of refused, shed or unknown series", store.refused_samples);
    page.counter("store_shed_series", "Series shed for memory", store.shed_series);
}

fn state(page: &mut Page, kernel: &KernelFacts) {
    store(page, &kernel.store);
    page.gauge("hands_off", "1 if nothing is sent until a person resumes", f64::from(u8::from(kernel.hands_off_since.is_some())));
    page.gauges("actions", "Actions in memory by phase", "phase", kernel.phases.iter().map(|(name, count)| (*name, *count as f64)));
    page.gauge("alerts_firing", "Alerts that are on", kernel.alerts_firing as f64);
    page.gauge("alerts_known", "Alerts in memory", kernel.alerts_known as f64);
    page.counter("alerts_refused", "Alerts refused because too many are known", kernel.alerts_refused);
    page.counter(
        "illegal_moves",
        "Journal entries that did not fit the state; never more than zero in a sound journal",
        kernel.illegal_moves,
    );
    page.gauge("policy_targets", "Policy targets in all", kernel.targets as f64);
    let spent = &kernel.spent_day;
    let interrupted = "Interruption by the actions of the last 24 hours, as their verbs say, in seconds";
    page.gauge("spent_day_disruption_seconds", interrupted, spent.disruption.seconds());
    let energy = "Energy that the actions of the last 24 hours cost, as their verbs say, in joules";
    page.gauge("spent_day_energy_joules", energy, spent.energy_joules);
    page.gauge("spent_day_euros", "What that energy costs, in euros", spent.euros);
    let complete = "1 if all actions of the last 24 hours are remembered, 0 if more was spent than is shown";
    page.gauge("spent_day_complete", complete, f64::from(u8::from(spent.complete)));
}

fn policies(page: &mut Page, kernel: &KernelFacts) {
    let results = kernel.policies.iter().flat_map(|policy| {
        policy
            .results
            .iter()
            .map(|(result, count)| (vec![("policy", policy.policy.clone()), ("result", (*result).to_owned())], *count as f64))
    });
    page.put(false, "policy_results", "Targets of a policy by their last result", results.collect());
    let faults =
        kernel.policies.iter().map(|policy| (&policy.policy, f64::from(u8::from(kernel.observer_faults.contains(&policy.policy)))));
    page.gauges("observer_fault", "1 if so many targets of a policy look bad that the observer is suspected", "policy", faults);
}

fn approvals(page: &mut Page, status: &ApprovalsStatus) {
    page.gauge("approvals_open", "Questions that are open on people's channels", status.open as f64);
    page.counter("approvals_asked", "Questions that were asked on people's channels", status.asked);
    page.counter("approvals_not_asked", "Questions that were not, because too many were open", status.not_asked);
    page.counter("approval_answers", "Answers over channels and links that were taken", status.taken);
    let refused = status.refused.iter().map(|(why, count)| (*why, *count));
    page.counters("approval_answers_refused", "Answers over channels and links that were not, by why", "why", refused);
    let by = |count: fn(&ChannelStatus) -> u64| status.channels.iter().map(move |(channel, line)| (channel.clone(), count(line)));
    page.counters("approval_messages", "Messages about questions that arrived", "channel", by(|line| line.delivered));
    page.counters("approval_messages_given_up", "Messages about questions that were given up", "channel", by(|line| line.given_up));
    page.counters("approval_strangers", "Presses by people or in chats that are not on the list", "channel", by(|line| line.strangers));
}

fn http(page: &mut Page, facts: &Facts<'_>) {
    page.counters("http_answers", "HTTP answers by status class", "class", facts.answers.iter().map(|(class, count)| (*class, *count)));
    page.counter("http_connections_refused", "Connections closed at once because there were too many", facts.connections_refused);
    let webhooks = facts.webhooks;
    page.counters(
        "webhook_received",
        "Alert deliveries that came in",
        "source",
        webhooks.iter().map(|(source, status)| (*source, status.received)),
    );
    page.counters(
        "webhook_alerts",
        "Alerts of deliveries that were taken",
        "source",
        webhooks.iter().map(|(source, status)| (*source, status.alerts)),
    );
    page.counters(
        "webhook_truncated",
        "Alerts that senders left out",
        "source",
        webhooks.iter().map(|(source, status)| (*source, status.truncated)),
    );
    let results = webhooks.iter().flat_map(|(source, status)| {
        status
            .results
            .iter()
            .map(|(result, count)| (vec![("source", (*source).to_owned()), ("result", (*result).to_owned())], *count as f64))
    });
    page.put(true, "webhook_deliveries", "Alert deliveries by what became of them", results.collect());
}

struct LabelPairs<'a>(&'a [(&'static str, String)]);

impl EncodeLabelSet for LabelPairs<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (name, value) in self.0 {
            (*name, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Collected(Vec<Family>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let kind = if family.is_counter { MetricType::Counter } else { MetricType::Gauge };
            let mut metric = encoder.encode_descriptor(&family.name, family.help, None, kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    put(&mut metric, family.is_counter, *value)?;
                } else {
                    put(&mut metric.encode_family(&LabelPairs(labels))?, family.is_counter, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn put(metric: &mut prometheus_client::encoding::MetricEncoder<'_>, is_counter: bool, value: f64) -> fmt::Result {
    if is_counter { metric.encode_counter::<NoLabelSet, f64, f64>(&value, None) } else { metric.encode_gauge(&value) }
}

/// The page as OpenMetrics text.
pub fn text(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collected(families)));
    let mut page = String::with_capacity(16 << 10);
    // Writing to a String cannot fail; what an encoder refuses would be a defect that the tests show.
    if let Err(error) = prometheus_client::encoding::text::encode(&mut page, &registry) {
        tracing::error!(error = %error, "The metrics page cannot be written.");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{JournalStatus, QueueStatus};
    use homeostat_sensors::exposition::{Format, SampleText, Sink, Taken, parse};

    struct Seen(Vec<(String, f64)>);

    impl Sink for Seen {
        fn sample(&mut self, sample: &SampleText<'_, '_>) -> Taken {
            self.0.push((format!("{:?}{:?}", sample.name, sample.labels), sample.value));
            Taken::Yes
        }
        fn restart(&mut self) {
            self.0.clear();
        }
    }

    fn status() -> DaemonStatus {
        DaemonStatus {
            version: "1".into(),
            build: "a\"b\\c\nd".into(),
            started_at: Time(1500),
            generation: 3,
            ready: true,
            not_ready_because: Vec::new(),
            journal: JournalStatus { ok: true, ..JournalStatus::default() },
            sensors: Vec::new(),
            queues: BTreeMap::from([("kernel".to_owned(), QueueStatus { len: 1, capacity: 2, refused: 3 })]),
            actuators: Vec::new(),
            panics: 0,
            batch_max_ms: 2.0,
        }
    }

    #[test]
    fn our_own_parser_reads_every_sample_of_our_own_page() {
        let webhooks = BTreeMap::from([(
            "grafana",
            WebhookStatus { received: 2, results: BTreeMap::from([("accepted", 2)]), ..WebhookStatus::default() },
        )]);
        let kernel = KernelFacts {
            stats: Stats { rulings: BTreeMap::from([("denied", 4)]), scores: BTreeMap::from([("helped", 2)]), ..Stats::default() },
            phases: BTreeMap::from([("done", 7)]),
            learned: Learned::of(&crate::scores::tests::ledger(), crate::scores::tests::NOON),
            ..KernelFacts::default()
        };
        let channel = crate::approvals::ChannelStatus { delivered: 3, ..Default::default() };
        let approvals = ApprovalsStatus { open: 2, channels: BTreeMap::from([("ntfy:phone".into(), channel)]), ..Default::default() };
        let answers = BTreeMap::from([("2xx", 5)]);
        let process = Process::read();
        assert!(process.is_some_and(|p| p.resident_bytes > 1e6 && p.open_fds > 2.0), "{process:?}");
        let daemon = status();
        let rules = crate::scores::tests::rules();
        let facts = Facts {
            daemon: &daemon,
            kernel: Some(&kernel),
            rules: Some(&rules),
            webhooks: &webhooks,
            approvals: Some(&approvals),
            answers: &answers,
            connections_refused: 1,
            process,
        };
        let families = families(&facts);
        let expected: usize = families.iter().map(|family| family.samples.len()).sum();
        let page = text(families);
        let mut seen = Seen(Vec::new());
        let report = parse(page.as_bytes(), Format::OpenMetrics, &mut seen);
        assert!(report.is_clean(), "{report:?}\n{page}");
        assert_eq!(seen.0.len(), expected, "{page}");
        for line in [
            "homeostat_rulings_total{verdict=\"denied\"} 4.0",
            "homeostat_approval_messages_total{channel=\"ntfy:phone\"} 3.0",
            "homeostat_actions{phase=\"done\"} 7.0",
            "homeostat_queue_refused_total{queue=\"kernel\"} 3.0",
            "homeostat_start_time_seconds 1.5",
            "homeostat_scores_total{finding=\"helped\"} 2.0",
            "homeostat_beliefs 1.0",
            "homeostat_autonomy_level{policy=\"disk-full\",class=\"reversible\",target_class=\"node\"} 1.0",
            "homeostat_spent_month_boots{policy=\"disk-full\"} 6.0",
            "homeostat_spent_month_energy_joules{policy=\"disk-full\"} 43200000.0",
            "homeostat_budget_month_boots 8.0",
            "homeostat_trips{verb=\"power.sleep\"} 3.0",
            "homeostat_webhook_deliveries_total{source=\"grafana\",result=\"accepted\"} 2.0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }

    #[test]
    fn process_figures_survive_a_name_with_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000 500";
        let process = Process::parse("Name:\tx\nVmRSS:\t    2048 kB\n", stat).unwrap();
        assert_eq!((process.resident_bytes, process.cpu_seconds), (2_097_152.0, 3.0));
        assert_eq!(Process::parse("", stat), None);
    }
}
