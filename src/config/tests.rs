//! The configuration as people write it: right, wrong, and wrong in several places.

use super::*;
use homeostat_model::{Autonomy, Class, Span};
use std::collections::BTreeSet;

fn outside<'a>() -> Outside<'a> {
    Outside {
        env: &|name| (name == "TOKEN").then(|| "a-long-enough-token".to_owned()),
        read: &|path| if path == "/run/secret" { Ok("sesame\n".into()) } else { Err(std::io::ErrorKind::NotFound.into()) },
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("homeostat.yaml"), &outside())
}

fn problems(text: &str) -> Vec<String> {
    let error = parse(text).map(|_| ()).expect_err(text);
    error.problems.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message)).collect()
}

const WHOLE: &str = r#"
data: /var/lib/homeostat
listen: 192.168.1.5:9797
tokens:
  phone: ${env:TOKEN}
mcp: { http: true, agents: { helper: "${file:/run/secret}" } }
sensors:
  host: { kind: host, interval: 10s }
  nas:
    kind: exposition
    url: http://nas:9100/metrics
    interval: 15s
    basic: { username: 12, password: "${file:/run/secret}" }
  energy: { kind: kepler, url: "http://muscle:28282/metrics" }
  lab: { kind: prometheus, url: "http://prometheus:9090" }
  disks: { kind: smart, devices: [{ path: /dev/sda, type: sat }] }
  scrutiny: { kind: scrutiny, url: "http://nas:8080" }
webhooks:
  grafana: { grafana_hmac: { secret: "${env:TOKEN}", timestamp_header: X-Time } }
  alertmanager: { bearer: 12345678901234567890123 }
actuators:
  notify:
    channels:
      phone: { kind: ntfy, url: "https://ntfy.sh", topic: "${file:/run/secret}" }
      chat: { kind: telegram, token: "${env:TOKEN}", chat_id: -100 }
  exec:
    commands:
      cleanup: { doc: Clean up, argv: [/usr/bin/cleanup, "{target_name}"], class: reversible, timeout: 5m }
  power:
    nodes:
      muscle: { mac: "00:11:22:33:44:55", probe: { tcp: "muscle:22" } }
policies:
  overrides:
    disk-full: { autonomy: shadow, every: 5m, params: { share: 0.2, names: [a, b] } }
arbiter:
  autonomy: { disruptive: veto }
  per_hour_max: { restore: 3 }
  own_base: [{ target: node/brain, why: runs Prometheus }]
  day: { disruption_max: 30m, energy_max_joules: 3600000, spend_max_euros: 1.5 }
  month: { boots_max: 60, tokens_max: 100000 }
  tariff:
    euros_per_kwh: 0.31
    windows: [{ name: night, from: "22:00", to: "06:00", euros_per_kwh: 0.2 }]
  earned: { start: veto, days_min: 4 }
  floors: [{ targets: [node/*], min_healthy: 2 }]
  blast: { same_kind_share_max: 0.3, dependants_max: 5, dependants_share_max: 0.4, copies_of: [volume, database] }
  calendar:
    utc_offset_minutes: 60
    windows:
      - { name: night, rule: deny, classes: [disruptive, irreversible], weekdays: [mon, sun], from: "22:30", to: "06:00" }
      - { name: sunday, rule: allow, classes: [irreversible], from: "10:00", to: "24:00" }
  witnesses:
    rules: [{ domain: plug, series: plug_watts, target: "node/{node}", relation: below, threshold: 8 }]
    domains_min: 2
    gateway: ["probe_success{target='gateway'}"]
    reach: [node_up]
    age_max: 90s
  storm: { alerts_max: 9, restores_max: 4, within: 5m, ramp: 2m }
  ladder: [{ verb: power.reboot, after: restart.rollout, attempts: 2, within: 1h }]
topology:
  shipped: true
  links: [{ from: service/photos, edge: stores_on, to: node/nas }]
  rules: [{ series: vm_info, from: "guest/{name}", edge: runs_on, to: "node/{host}", if_supported: false }]
  owners: [{ series: app_info, target: "deployment/{ns}/*", verbs: [scale.*], field: replicas, owner: "Argo CD {name}", instead: open a pull request }]
  healthy: [{ series: up, target: "service/{job}", relation: above, threshold: 0.5 }]
  quorums: [{ name: etcd, members: [node/a, node/b, node/c], need: 2 }]
  targets_max: 500
  links_max: 900
digest: { at: "08:00", weekdays: [mon, fri], span: 2w, file: markdown }
store: { retention: 6h }
journal: { retention: 30d }
samples:
"#;

#[test]
fn a_whole_file_is_read() {
    let config = parse(WHOLE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        config.sensors.iter().map(|(name, sensor)| (name.as_str(), sensor.kind())).collect::<Vec<_>>(),
        [
            ("disks", "smart"),
            ("energy", "kepler"),
            ("host", "host"),
            ("lab", "prometheus"),
            ("nas", "exposition"),
            ("scrutiny", "scrutiny")
        ]
    );
    let SensorConfig::Exposition(nas) = &config.sensors["nas"] else { panic!("an exposition") };
    assert_eq!((nas.name.as_str(), nas.interval, nas.basic.as_ref().unwrap().username.as_str()), ("nas", Span::from_secs(15), "12"));
    assert_eq!((config.digest.at.map(|at| at.0), config.digest.weekdays.len(), config.digest.file), (Some(480), 2, DigestFile::Markdown));
    let rules = config.arbiter.settings();
    assert_eq!((rules.autonomy[&Class::Disruptive], rules.autonomy[&Class::Notify]), (Autonomy::Veto, Autonomy::Auto));
    assert_eq!((rules.per_hour_max[&Class::Restore], rules.per_hour_max[&Class::Disruptive]), (3, 6));
    assert_eq!((rules.day.disruption_max, rules.month.boots_max), (Some(Span::from_mins(30)), Some(60)));
    let noon = homeostat_model::Time(12 * 3_600_000);
    assert_eq!(config.actuators.power.as_ref().map(|power| power.euros_per_kwh), Some(0.31), "wear is held against the same price");
    assert_eq!((rules.tariff.price_at(noon), rules.tariff.windows[0].euros_per_kwh), (0.31, 0.2));
    assert_eq!((rules.earned.start, rules.earned.days_min, rules.earned.expires_after.millis() > 0), (Autonomy::Veto, 4, true));
    assert_eq!((rules.floors[0].min_healthy, rules.blast.dependants_max, rules.blast.copies_of.len()), (2, 5, 2));
    assert_eq!((rules.calendar.windows[0].from.0, rules.calendar.windows[1].to.0, rules.calendar.utc_offset_minutes), (1350, 1440, 60));
    assert_eq!((rules.witnesses.age_max, rules.witnesses.rules[0].domain.as_str()), (Span::from_secs(90), "plug"));
    assert_eq!((rules.storm.ramp, rules.ladder[0].attempts), (Span::from_mins(2), 2));
    let (topology, shipped) = (config.topology.settings(), homeostat_model::TopologySettings::shipped());
    assert_eq!((topology.links.len(), topology.rules.len(), topology.owners.len()), (1, shipped.rules.len() + 1, shipped.owners.len() + 1));
    assert_eq!((topology.quorums[0].needed(), topology.targets_max, topology.links_max), (2, 500, 900));
    assert_eq!(config.journal_settings().retention, Span::from_hours(30 * 24));
    assert_eq!(config.journal_settings().samples, SampleSettings::default());
    let overrides = config.policies.overrides();
    assert_eq!((overrides.len(), overrides.values().next().unwrap().autonomy), (1, Some(Autonomy::Shadow)));
    assert!(!format!("{config:?}").contains("12345678901234567890123"), "literal secrets are never shown");
}

#[test]
fn nothing_at_all_is_a_configuration() {
    for text in ["", "# only a comment\n", "sensors:\n"] {
        let config = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:9797");
        assert_eq!(config.sensors.len(), usize::from(!text.contains("sensors")));
    }
    let config = Config::load(None, &outside()).unwrap();
    assert_eq!(config.sensors["host"].kind(), "host");
    assert_eq!(config.data_dir(&outside()), Path::new("/var/lib/homeostat"));
    let asking = homeostat_model::EarnedSettings::default();
    assert_eq!(config.arbiter.settings(), homeostat_model::ArbiterSettings { earned: asking, ..Default::default() });
    assert_eq!(config.topology.settings(), homeostat_model::TopologySettings::shipped());
    assert_eq!(config.store.settings(), homeostat_model::StoreSettings::default());
    assert_eq!(config.journal_settings(), JournalSettings::default());
}

#[test]
fn every_mistake_is_named_at_its_place_in_one_go() {
    let found = problems(
        "sensors:\n  nas:\n    kind: exposition\n    url: http://nas:9100\n    intervall: 15s\n  b: { kind: exposiion }\n  c: { url: x }\n\
         stroe: {}\njournal: { retention: 5 months }\nsamples: { bytes_max: plenty }\narbiter: { autonomy: { disruptive: automatic } }\n",
    );
    assert_eq!(
        found,
        [
            "5:5 unknown field `intervall` in `sensors.nas`, did you mean `interval`?",
            "6:14 `sensors.b.kind` is `exposiion`, did you mean `exposition`?",
            "7:6 `sensors.c` lacks the field `kind`: expected one of: host, exposition, kepler, prometheus, smart, scrutiny",
            "8:1 unknown field `stroe`, did you mean `store`?",
            "9:23 `journal.retention`: `5 months` is not a duration: expected numbers with units, largest first, such as `90s`, `5m`, `1h30m` or `500ms`",
            "10:23 `samples.bytes_max` is text: expected a whole number",
            "11:36 `arbiter.autonomy.disruptive` is `automatic`, expected one of: shadow, suggest, veto, auto",
        ]
    );
}

#[test]
fn single_mistakes() {
    for (text, expected) in [
        ("store: { series_max: 1 }\nstore: {}\n", "2:1 "),
        ("sensors:\n  a: [1, 2\n", "error"),
        ("sensors: { d: { kind: smart, wake: yes } }", "1:36 `sensors.d.wake` is text: write `true` or `false`"),
        ("sensors: { d: { kind: host, interval: 5 } }", "1:39 `5` is not a duration"),
        ("sensors: { d: { kind: exposition } }", "1:15 `sensors.d` lacks the field `url` (The page's address, `http"),
        ("listen: somewhere", "1:9 "),
        ("listen: 0.0.0.0:80", "1:9 an address that others can reach"),
        ("tokens: { a: short }", "1:14 the token `a` has fewer than 16 characters"),
        ("mcp: { agents: { a: short } }", "1:21 the token `a` has fewer than 16 characters"),
        ("tokens: { a: \"${env:TOKEN}\" }\nmcp: { agents: { a: \"0123456789abcdef\" } }", "2:21 `a` stands under `tokens`, too"),
        ("tokens: { a: \"${env:NOPE}\" }", "1:14 the environment variable `NOPE` is not set"),
        ("tokens: { a: \"${file:/nope}\" }", "1:14 the secret file `/nope` cannot be read"),
        ("tokens: { a: \"${vault:x}\" }", "1:14 `tokens.a`: `${vault:x}` is not a secret reference"),
        ("sensors: { 'a b': { kind: host } }", "is not a sensor's name"),
        ("arbiter: { observer_fault_ratio: 7 }", "1:34 `observer_fault_ratio` is 7, expected 0 to 1"),
        ("arbiter: { blast: { dependants_share_max: 2 } }", "1:43 `dependants_share_max` is 2, expected 0 to 1"),
        ("arbiter: { floors: [{ targets: [node/*], min: 2 }] }", "unknown field `min`"),
        ("arbiter: { witnesses: { gateway: ['up{'] } }", "1:23 selector `up{`"),
        (
            "arbiter: { calendar: { windows: [{ name: n, rule: deny, classes: [disruptive], from: '25:00', to: '06:00' }] } }",
            "`25:00` is not a time of day",
        ),
        (
            "arbiter: { calendar: { windows: [{ name: n, rule: forbid, classes: [], from: '23:00', to: '06:00' }] } }",
            "`forbid`, expected one of: allow, deny",
        ),
        ("topology: { rules: [{ series: up, from: 'a/{b', edge: runs_on, to: c }] }", "is not a text with labels in braces"),
        ("topology: { links: [{ from: a, edge: hangs_on, to: b }] }", "expected one of: depends_on, runs_on, stores_on, powered_by"),
        ("journal: { bytes_max: -1 }", "1:23 `journal.bytes_max` is -1: expected 0 to"),
        ("webhooks: { grafana: { bearr: x } }", "`webhooks.grafana` is `bearr`, did you mean `bearer`?"),
        ("webhooks: { grafana: nothing }", "expected one of: none, bearer, basic, grafana_hmac"),
        ("actuators: { exec: { commands: { c: { doc: x, argv: [x], class: awful } } } }", "1:65 "),
        ("actuators: { notify: { channels: { c: { kind: mail } } } }", "1:47 `actuators.notify.channels.c.kind` is `mail`"),
        ("[1, 2]", "1:1 the file is a list: expected a map"),
        ("data: \n", "no value"),
    ] {
        let Err(error) = parse(text) else {
            assert!(text.starts_with("data"), "{text} must be refused");
            continue;
        };
        let all = error.problems.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.message));
        let all = all.collect::<Vec<_>>().join("\n");
        assert!(all.contains(expected) || (expected == "error" && !all.is_empty()), "{text}\n expected {expected}\n got {all}");
    }
}

#[test]
fn a_problem_is_shown_with_its_line_and_a_caret_but_never_with_a_secret() {
    let shown = parse("store:\n  seris_max: 5\n").unwrap_err().to_string();
    assert_eq!(
        shown,
        "error: unknown field `seris_max` in `store`, did you mean `series_max`?\n  --> homeostat.yaml:2:3\n  |\n2 |   seris_max: 5\n  |   ^"
    );
    let shown = parse("sensors: { a: { kind: exposition, bearer: hunter2hunter2, url: [] } }").unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    let shown = parse("tokens:\n  phone: hunter2\n").unwrap_err().to_string();
    assert!(!shown.contains("hunter2") && shown.contains("^"), "{shown}");
    let shown = parse("tokens:\n  phone: hunter2 ]: [\n").unwrap_err().to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    let chat = "actuators: { notify: { channels: { c: { kind: slack, url: https://hooks/hunter2, urll: 1 } } } }";
    let shown = parse(chat).unwrap_err().to_string();
    assert!(!shown.contains("hunter2") && shown.contains("`urll`"), "{shown}");
}

#[test]
fn bombs_and_huge_files_are_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..9 {
        let list = vec![format!("*a{}", i - 1); 9].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    assert!(parse(&bomb).is_err());
    assert!(parse(&"[".repeat(10_000)).is_err());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("homeostat.yaml");
    std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
    assert!(Config::load(Some(&path), &outside()).unwrap_err().to_string().contains("at most"));
    assert!(Config::load(Some(&dir.path().join("none")), &outside()).unwrap_err().to_string().contains("cannot be read"));
}

/// Every property of every struct has words of its own.
#[test]
fn every_field_is_documented() {
    fn walk(schema: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let described = property["description"].is_string() || property.get("const").is_some();
            let wrapped = schema["required"].as_array().is_some_and(|required| required.len() == 1) && schema["description"].is_string();
            if !described && !wrapped {
                bare.push(format!("{path}.{name}"));
            }
            walk(property, &format!("{path}.{name}"), bare);
        }
        for key in ["oneOf", "anyOf"] {
            for (index, variant) in schema[key].as_array().into_iter().flatten().enumerate() {
                walk(variant, &format!("{path}/{index}"), bare);
            }
        }
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            walk(definition, name, bare);
        }
    }
    let mut bare = Vec::new();
    walk(&schema(), "Config", &mut bare);
    assert!(bare.is_empty(), "fields without a doc comment: {bare:#?}");
    assert!(schema()["$defs"].as_object().unwrap().len() > 20, "the walk has seen the plugs");
}

/// `docs/config.md` is what the structs say. `HOMEOSTAT_BLESS=1` writes it anew.
#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let made = reference();
    if std::env::var_os("HOMEOSTAT_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/config.md is out of date: run the tests with HOMEOSTAT_BLESS=1");
}

/// What documents show as a configuration is one: each block that begins with one of its sections.
#[test]
fn what_documents_show_is_a_configuration() {
    let sections: Vec<String> = schema()["properties"].as_object().unwrap().keys().map(|key| format!("{key}:")).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = std::fs::read_dir(folder.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let outside = Outside { env: &|_| Some("a-token-that-is-long-enough-for-all".into()), read: &|_| Ok("sesame-open-up-for-me".into()) };
    let mut tried = BTreeSet::new();
    for path in documents.chain([folder.join("README.md")]).filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
        for block in blocks.filter(|block| sections.iter().any(|section| block.starts_with(section.as_str()))) {
            let read = Config::parse(block, Path::new("homeostat.yaml"), &outside);
            assert!(read.is_ok(), "{}: {:#?}", path.display(), read.err());
            tried.insert(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    for name in ["README.md", "reasoning.md", "approvals.md", "mcp.md", "asking.md", "scores.md"] {
        assert!(tried.contains(name), "{name} shows a configuration: {tried:?}");
    }
}
