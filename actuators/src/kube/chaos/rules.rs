//! Which experiments are valid: what the definitions' schemas and Chaos Mesh's webhooks ask for.
//!
//! Deliberately absent: what Homeostat allows ([`super::bounds`]). Every problem is listed, with its field. An editor breaks this by
//! letting a value through that the server would refuse or, worse, silently default.

use super::compose::{Experiment, Schedule, StatusCheck, Template, Workflow};
use super::data::{Direction, Mode, NetworkAction, NetworkChaos, PodAction, PodChaos, StressChaos};
use super::inside::{BlockChaos, DnsChaos, HttpChaos, IoAction, IoChaos, JvmAction, JvmChaos, KernelChaos, TimeChaos};
use super::machines::{AwsAction, AzureAction, GcpAction, MACHINE_ACTIONS, PhysicalMachineChaos};
use homeostat_model::Span;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The most threads of a stressor.
const WORKERS_MAX: i64 = 8192;
/// Schedules in Workflows in Schedules …: no deeper.
const DEPTH_MAX: usize = 4;

/// A duration as Go writes it (`1h30m`, `-10m100ns`, `1.5s`), in whole milliseconds, rounded towards zero. `None`: it is none.
pub fn go_duration(text: &str) -> Option<Span> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Span::ZERO);
    }
    let mut millis = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1e-6,
            "us" | "µs" | "μs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 6e4,
            "h" => 3.6e6,
            _ => return None,
        };
        millis += number * unit;
        rest = &rest[unit_end..];
    }
    // Go's own limit is about 292 years; what is longer is no duration.
    (!text.is_empty() && text != "-" && text != "+" && millis < 9.2e15).then_some(Span((sign * millis) as i64))
}

/// A span as a Go duration: whole milliseconds.
pub fn go_text(span: Span) -> String {
    if span.millis() % 1000 == 0 { format!("{}s", span.millis() / 1000) } else { format!("{}ms", span.millis()) }
}

/// Everything that is wrong with an experiment, each with its field.
pub fn problems(experiment: &Experiment) -> Vec<String> {
    let mut found = Found::default();
    found.experiment(experiment, 0);
    found.0
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    fn needs(&mut self, given: bool, field: &str, why: &str) {
        if !given {
            self.add(format!("`{field}` is missing: {why} needs it"));
        }
    }

    fn within(&mut self, value: Option<i64>, range: RangeInclusive<i64>, field: &str) {
        if let Some(value) = value.filter(|value| !range.contains(value)) {
            self.add(format!("`{field}` is {value}, expected {} to {}", range.start(), range.end()));
        }
    }

    fn lasts(&mut self, text: Option<&str>, field: &str) {
        if let Some(text) = text.filter(|text| go_duration(text).is_none_or(|span| span <= Span::ZERO)) {
            self.add(format!("`{field}` is `{text}`, expected a Go duration of more than nothing, such as `90s` or `1h30m`"));
        }
    }

    /// A percentage as text.
    fn percent(&mut self, text: Option<&str>, field: &str) {
        if let Some(text) = text.filter(|text| !text.parse::<f64>().is_ok_and(|value| (0.0..=100.0).contains(&value))) {
            self.add(format!("`{field}` is `{text}`, expected per cent as text, \"0\" to \"100\""));
        }
    }

    fn mode(&mut self, mode: Mode, value: Option<&str>, field: &str) {
        let range = match mode {
            Mode::One | Mode::All => return,
            Mode::Fixed => 1..=u32::MAX,
            Mode::FixedPercent | Mode::RandomMaxPercent => 1..=100,
        };
        if !value.and_then(|value| value.parse::<u32>().ok()).is_some_and(|value| range.contains(&value)) {
            let shown = value.unwrap_or("");
            self.add(format!(
                "`{field}` is `{shown}`, expected a whole number of at least 1{} as text",
                if *range.end() == 100 { " and at most 100" } else { "" }
            ));
        }
    }

    fn experiment(&mut self, experiment: &Experiment, depth: usize) {
        if depth > DEPTH_MAX {
            return self.add(format!("schedules and workflows are nested more than {DEPTH_MAX} deep"));
        }
        for (at, pick) in experiment.picks().iter().enumerate() {
            self.mode(pick.mode, pick.value, if at == 0 { "value" } else { "target.value" });
            for expression in pick.selector.expression_selectors.iter().flatten() {
                let operator = expression.operator.as_str();
                let values = expression.values.as_ref().is_some_and(|values| !values.is_empty());
                match operator {
                    "In" | "NotIn" => self.needs(values, "expressionSelectors.values", operator),
                    "Exists" | "DoesNotExist" => {}
                    _ => self.add(format!("`operator` is `{operator}`, expected In, NotIn, Exists or DoesNotExist")),
                }
            }
        }
        self.lasts(experiment.duration(), "duration");
        match experiment {
            Experiment::PodChaos(spec) => self.pod(spec),
            Experiment::NetworkChaos(spec) => self.network(spec),
            Experiment::StressChaos(spec) => self.stress(spec),
            Experiment::IoChaos(spec) => self.io(spec),
            Experiment::TimeChaos(spec) => self.time(spec),
            Experiment::DnsChaos(spec) => self.dns(spec),
            Experiment::HttpChaos(spec) => self.http(spec),
            Experiment::KernelChaos(spec) => self.kernel(spec),
            Experiment::JvmChaos(spec) => self.jvm(spec),
            Experiment::BlockChaos(spec) => self.block(spec),
            Experiment::AwsChaos(spec) if spec.action == AwsAction::DetachVolume => {
                self.needs(spec.volume_id.is_some() && spec.device_name.is_some(), "volumeID and deviceName", "detach-volume");
            }
            Experiment::AzureChaos(spec) if spec.action == AzureAction::DiskDetach => {
                self.needs(spec.disk_name.is_some() && spec.lun.is_some(), "diskName and lun", "disk-detach");
            }
            Experiment::GcpChaos(spec) if spec.action == GcpAction::DiskLoss => {
                self.needs(spec.device_names.as_ref().is_some_and(|names| !names.is_empty()), "deviceNames", "disk-loss");
            }
            Experiment::AwsChaos(_) | Experiment::AzureChaos(_) | Experiment::GcpChaos(_) => {}
            Experiment::PhysicalMachineChaos(spec) => self.machine(spec),
            Experiment::Schedule(spec) => self.schedule(spec, depth),
            Experiment::Workflow(spec) => self.workflow(spec, depth),
            Experiment::StatusCheck(spec) => self.check(spec),
        }
    }

    fn pod(&mut self, spec: &PodChaos) {
        self.within(spec.grace_period, 0..=i64::from(i32::MAX), "gracePeriod");
        let named = spec.container_names.as_ref().is_some_and(|names| !names.is_empty());
        match spec.action {
            PodAction::ContainerKill => self.needs(named, "containerNames", "container-kill"),
            PodAction::PodKill | PodAction::PodFailure => {}
        }
    }

    fn network(&mut self, spec: &NetworkChaos) {
        let action = match spec.action {
            NetworkAction::Delay => ("delay", spec.delay.is_some()),
            NetworkAction::Loss => ("loss", spec.loss.is_some()),
            NetworkAction::Duplicate => ("duplicate", spec.duplicate.is_some()),
            NetworkAction::Corrupt => ("corrupt", spec.corrupt.is_some()),
            NetworkAction::Bandwidth => ("bandwidth", spec.bandwidth.is_some()),
            NetworkAction::Partition => ("partition", true),
            NetworkAction::Netem => {
                let any = spec.delay.is_some()
                    || spec.loss.is_some()
                    || spec.duplicate.is_some()
                    || spec.corrupt.is_some()
                    || spec.rate.is_some();
                ("delay, loss, duplicate, corrupt or rate", any)
            }
        };
        self.needs(action.1, action.0, "the action");
        if let Some(delay) = &spec.delay {
            self.lasts(Some(&delay.latency), "delay.latency");
            if let Some(jitter) = delay.jitter.as_deref().filter(|text| go_duration(text).is_none()) {
                self.add(format!("`delay.jitter` is `{jitter}`, expected a Go duration"));
            }
            self.percent(delay.correlation.as_deref(), "delay.correlation");
            self.percent(delay.reorder.as_ref().map(|reorder| reorder.reorder.as_str()), "delay.reorder.reorder");
        }
        self.percent(spec.loss.as_ref().map(|one| one.loss.as_str()), "loss.loss");
        self.percent(spec.duplicate.as_ref().map(|one| one.duplicate.as_str()), "duplicate.duplicate");
        self.percent(spec.corrupt.as_ref().map(|one| one.corrupt.as_str()), "corrupt.corrupt");
        if let Some(bandwidth) = &spec.bandwidth {
            self.within(Some(bandwidth.limit), 1..=i64::from(i32::MAX), "bandwidth.limit");
            self.within(Some(bandwidth.buffer), 1..=i64::from(i32::MAX), "bandwidth.buffer");
            self.within(bandwidth.peakrate, 0..=i64::MAX, "bandwidth.peakrate");
            self.within(bandwidth.minburst, 0..=i64::from(i32::MAX), "bandwidth.minburst");
        }
        let direction = spec.direction.unwrap_or(Direction::To);
        if direction != Direction::To {
            self.needs(spec.target.is_some(), "target", "`direction` other than `to`");
            if spec.external_targets.is_some() && spec.action != NetworkAction::Partition {
                self.add("`externalTargets` go with `direction: to` only, unless the action is `partition`");
            }
        }
    }

    fn stress(&mut self, spec: &StressChaos) {
        let given = spec.stressors.as_ref().is_some_and(|stressors| stressors.cpu.is_some() || stressors.memory.is_some());
        self.needs(given || spec.stressng_stressors.is_some(), "stressors", "StressChaos");
        let Some(stressors) = &spec.stressors else { return };
        if let Some(cpu) = &stressors.cpu {
            self.within(Some(cpu.workers), 1..=WORKERS_MAX, "stressors.cpu.workers");
            self.within(cpu.load, 0..=100, "stressors.cpu.load");
        }
        if let Some(memory) = &stressors.memory {
            self.within(Some(memory.workers), 1..=WORKERS_MAX, "stressors.memory.workers");
            self.within(memory.oom_score_adj, -1000..=1000, "stressors.memory.oomScoreAdj");
        }
    }

    fn io(&mut self, spec: &IoChaos) {
        self.needs(!spec.volume_path.is_empty(), "volumePath", "IOChaos");
        self.within(spec.percent, 0..=100, "percent");
        match spec.action {
            IoAction::Latency => self.needs(spec.delay.is_some(), "delay", "latency"),
            IoAction::Fault => self.needs(spec.errno.is_some_and(|errno| errno > 0), "errno", "fault"),
            IoAction::AttrOverride => self.needs(spec.attr.is_some(), "attr", "attrOverride"),
            IoAction::Mistake => self.needs(spec.mistake.is_some(), "mistake", "mistake"),
        }
        self.lasts(spec.delay.as_deref(), "delay");
        if let Some(mistake) = &spec.mistake {
            self.within(mistake.max_length, 1..=i64::MAX, "mistake.maxLength");
            self.within(mistake.max_occurrences, 1..=i64::MAX, "mistake.maxOccurrences");
        }
    }

    fn time(&mut self, spec: &TimeChaos) {
        if go_duration(&spec.time_offset).is_none() {
            self.add(format!("`timeOffset` is `{}`, expected a Go duration such as `-10m`", spec.time_offset));
        }
    }

    fn dns(&mut self, spec: &DnsChaos) {
        for pattern in spec.patterns.iter().flatten().filter(|pattern| pattern.trim_end_matches('*').contains('*')) {
            self.add(format!("`patterns` holds `{pattern}`: `*` may stand at the end only"));
        }
    }

    fn http(&mut self, spec: &HttpChaos) {
        self.within(spec.port, 1..=65_535, "port");
        let given = spec.abort.is_some() || spec.delay.is_some() || spec.replace.is_some() || spec.patch.is_some();
        self.needs(given, "abort, delay, replace or patch", "HTTPChaos");
        self.lasts(spec.delay.as_deref(), "delay");
        let patch = spec.patch.as_ref();
        let pairs = patch.into_iter().flat_map(|patch| patch.headers.iter().chain(&patch.queries)).flatten();
        if pairs.into_iter().any(|pair| pair.len() != 2) {
            self.add("`patch.headers` and `patch.queries` hold pairs: [name, value]");
        }
    }

    fn kernel(&mut self, spec: &KernelChaos) {
        self.within(Some(spec.fail_kern_request.failtype), 0..=2, "failKernRequest.failtype");
        self.within(spec.fail_kern_request.probability, 0..=100, "failKernRequest.probability");
        self.within(spec.fail_kern_request.times, 0..=i64::from(i32::MAX), "failKernRequest.times");
    }

    fn jvm(&mut self, spec: &JvmChaos) {
        let method = spec.class.is_some() && spec.method.is_some();
        match spec.action {
            JvmAction::Latency => self.needs(method && spec.latency.is_some_and(|ms| ms > 0), "class, method and latency", "latency"),
            JvmAction::Return => self.needs(method && spec.return_value.is_some(), "class, method and returnValue", "return"),
            JvmAction::Exception => self.needs(method && spec.exception.is_some(), "class, method and exception", "exception"),
            JvmAction::Stress => self.needs(spec.cpu_count.is_some() != spec.mem_type.is_some(), "one of cpuCount and memType", "stress"),
            JvmAction::Gc => {}
            JvmAction::RuleData => self.needs(spec.rule_data.is_some(), "ruleData", "ruleData"),
            JvmAction::Mysql => {
                let what = spec.exception.is_some() || spec.latency.is_some_and(|ms| ms > 0);
                self.needs(spec.mysql_connector_version.is_some() && what, "mysqlConnectorVersion, and exception or latency", "mysql");
            }
        }
        self.within(spec.port, 1..=65_535, "port");
    }

    fn block(&mut self, spec: &BlockChaos) {
        self.needs(!spec.volume_name.is_empty(), "volumeName", "BlockChaos");
        self.needs(spec.delay.as_ref().is_some_and(|delay| delay.latency.is_some()), "delay.latency", "delay");
        self.lasts(spec.delay.as_ref().and_then(|delay| delay.latency.as_deref()), "delay.latency");
    }

    fn machine(&mut self, spec: &PhysicalMachineChaos) {
        if !MACHINE_ACTIONS.contains(&spec.action.as_str()) {
            self.add(format!("`action` is `{}`, which Chaos Mesh does not know", spec.action));
        }
        for key in spec.details.keys().filter(|key| **key != spec.action) {
            self.add(format!("`{key}` is no field of the action `{}`", spec.action));
        }
        self.needs(spec.details.contains_key(&spec.action), &spec.action, "the action");
        self.mode(spec.mode, spec.value.as_deref(), "value");
        self.needs(spec.selector.is_some() != spec.address.is_some(), "one of selector and address", "PhysicalMachineChaos");
    }

    fn schedule(&mut self, spec: &Schedule, depth: usize) {
        let words = spec.schedule.split_whitespace().count();
        let every = spec.schedule.strip_prefix("@every ").is_some_and(|text| go_duration(text).is_some_and(|span| span > Span::ZERO));
        let named = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"].contains(&spec.schedule.as_str());
        let cron = matches!(words, 5 | 6) && !spec.schedule.starts_with('@');
        if !(every || named || cron) {
            self.add(format!("`schedule` is `{}`, expected cron with 5 or 6 fields or `@every 5m`", spec.schedule));
        }
        self.within(spec.history_limit, 1..=i64::from(i32::MAX), "historyLimit");
        self.within(spec.starting_deadline_seconds, 0..=i64::MAX, "startingDeadlineSeconds");
        let bodies = spec.bodies();
        match bodies.as_slice() {
            [one] if one.kind().name() == spec.makes => self.experiment(one, depth + 1),
            [one] => self.add(format!("`type` is `{}`, but a {} is given", spec.makes, one.kind().name())),
            many => self.add(format!("a Schedule needs one body, `{}`; {} are given", spec.makes, many.len())),
        }
    }

    fn workflow(&mut self, spec: &Workflow, depth: usize) {
        let names: BTreeSet<&str> = spec.templates.iter().map(|template| template.name.as_str()).collect();
        if names.len() != spec.templates.len() {
            self.add("two templates have the same name");
        }
        let children = spec.templates.iter().flat_map(|template| template.children.iter().flatten());
        let branches = spec.templates.iter().flat_map(|template| template.conditional_branches.iter().flatten().map(|next| &next.target));
        for name in std::iter::once(&spec.entry).chain(children).chain(branches).filter(|name| !names.contains(name.as_str())) {
            self.add(format!("there is no template `{name}`"));
        }
        spec.templates.iter().for_each(|template| self.template(template, depth));
    }

    fn template(&mut self, template: &Template, depth: usize) {
        let (name, kind) = (&template.name, template.template_type.as_str());
        self.lasts(template.deadline.as_deref(), &format!("{name}.deadline"));
        let bodies = template.bodies();
        match kind {
            "Serial" | "Parallel" => {
                self.needs(template.children.as_ref().is_some_and(|list| !list.is_empty()), &format!("{name}.children"), kind);
            }
            "Suspend" => self.needs(template.deadline.is_some(), &format!("{name}.deadline"), kind),
            "Task" => self.needs(template.task.is_some(), &format!("{name}.task"), kind),
            _ => match bodies.as_slice() {
                [one] if one.kind().name() == kind => self.experiment(one, depth + 1),
                _ => self.add(format!("template `{name}` is a `{kind}` and needs the body of one, and nothing else")),
            },
        }
        if matches!(kind, "Serial" | "Parallel" | "Suspend" | "Task") && !bodies.is_empty() {
            self.add(format!("template `{name}` is a `{kind}` and cannot have the body of an experiment"));
        }
    }

    fn check(&mut self, spec: &StatusCheck) {
        if spec.asks != "HTTP" {
            self.add(format!("`type` is `{}`, expected `HTTP`", spec.asks));
        }
        self.needs(spec.http.is_some(), "http", "StatusCheck");
        for (value, field) in [
            (spec.interval_seconds, "intervalSeconds"),
            (spec.timeout_seconds, "timeoutSeconds"),
            (spec.failure_threshold, "failureThreshold"),
            (spec.success_threshold, "successThreshold"),
        ] {
            self.within(value, 1..=i64::MAX, field);
        }
        self.within(spec.records_history_limit, 1..=1000, "recordsHistoryLimit");
        self.lasts(spec.duration.as_deref(), "duration");
        let code = |text: &str| text.parse::<u16>().is_ok_and(|code| (100..600).contains(&code));
        if let Some(criteria) = spec.http.as_ref().map(|http| &http.criteria.status_code)
            && !criteria.split_once('-').map_or(code(criteria), |(low, high)| code(low) && code(high) && low <= high)
        {
            self.add(format!("`http.criteria.statusCode` is `{criteria}`, expected `200` or `200-400`"));
        }
    }
}
