use super::*;
use crate::corpus;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

const START: i64 = 1_800_000_000;

/// A Prometheus in play: one node scraped every 15 s at true stamps that are no round numbers.
#[derive(Default)]
struct Play {
    /// The server's clock, in seconds.
    now: i64,
    /// Scrapes that never happened.
    outage: Option<(i64, i64)>,
    /// Answers to give before the right ones.
    instead: Vec<(u16, String)>,
    /// Range selectors longer than this many seconds time out.
    slice_max: i64,
    asked: Vec<String>,
    extra: String,
}

type Shared = Arc<Mutex<Play>>;

fn form(body: &str) -> HashMap<String, String> {
    reqwest::Url::parse(&format!("http://x/?{body}")).unwrap().query_pairs().into_owned().collect()
}

fn duration(text: &str) -> i64 {
    text.parse::<Span>().unwrap().millis()
}

async fn query(State(play): State<Shared>, body: String) -> Response {
    let form = form(&body);
    let mut play = play.lock().unwrap();
    play.asked.push(format!("{} @{}", form["query"], form.get("time").map_or("now", |t| t)));
    if !play.instead.is_empty() {
        let (status, body) = play.instead.remove(0);
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    let to = form.get("time").map_or(play.now * 1000, |time| (time.parse::<f64>().unwrap() * 1000.0) as i64);
    let Some((_, range)) = form["query"].trim_end_matches(']').rsplit_once('[') else {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"zone":"a"}},"value":[{},"7"]}}]}}}}"#,
            to / 1000
        );
        return body.into_response();
    };
    if play.slice_max > 0 && duration(range) > play.slice_max * 1000 {
        let body = r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
        return (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    }
    let scrapes = (START - 86_400..=play.now).step_by(15).filter(|s| play.outage.is_none_or(|(from, until)| *s < from || *s >= until));
    let values: Vec<String> = scrapes
        .map(|second| second * 1000 + 123)
        .filter(|at| *at > to - duration(range) && *at <= to)
        .map(|at| format!("[{:.3},\"{}\"]", at as f64 / 1000.0, (at / 1000 - START + 1_000_000) * 2))
        .collect();
    let series = match values.is_empty() {
        true => String::new(),
        false => format!(
            r#"{{"metric":{{"__name__":"node_pressure_io_waiting_seconds_total","instance":"nas:9100","job":"node"}},"values":[{}]}}"#,
            values.join(",")
        ),
    };
    let result: Vec<&str> = [series.as_str(), play.extra.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#, result.join(",")).into_response()
}

async fn query_range(State(play): State<Shared>, body: String) -> Response {
    let form = form(&body);
    let number = |name: &str| form[name].parse::<f64>().unwrap();
    let (start, end, step) = (number("start"), number("end"), number("step"));
    play.lock().unwrap().asked.push(format!("range {start}..{end}"));
    if (end - start) / step > 11_000.0 {
        let body = r#"{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries."}"#;
        return (StatusCode::BAD_REQUEST, body).into_response();
    }
    let steps = ((end - start) / step) as i64;
    let values: Vec<String> = (0..=steps).map(|i| format!("[{},\"7\"]", start + i as f64 * step)).collect();
    format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"zone":"a"}},"values":[{}]}}]}}}}"#,
        values.join(",")
    )
    .into_response()
}

const ALERTS: &str =
    r#"{"status":"success","data":{"alerts":[{"labels":{"alertname":"NodeDown"},"annotations":{},"state":"firing","value":"7.2e+01"}]}}"#;
const RULES: &str = r#"{"status":"success","data":{"groups":[{"name":"g","rules":[{"name":"A","health":"ok"},{"name":"B","health":"err"},{"name":"C","health":"unknown"}]}]}}"#;
const TARGETS: &str = r#"{"status":"success","data":{"activeTargets":[{"labels":{"job":"node","instance":"nas:9100"},"health":"down","lastError":"connection refused"}]}}"#;

async fn serve(play: &Shared) -> (String, tokio::task::AbortHandle) {
    let app = axum::Router::new()
        .route("/prom/api/v1/query", post(query))
        .route("/prom/api/v1/query_range", post(query_range))
        .route("/prom/api/v1/alerts", get(|| async { ALERTS }))
        .route("/prom/api/v1/rules", get(|| async { RULES }))
        .route("/prom/api/v1/targets", get(|| async { TARGETS }))
        .with_state(play.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prom", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }).abort_handle())
}

/// A sensor, its server, and all that it ever declared.
struct Bench {
    sensor: PrometheusSensor,
    play: Shared,
    server: tokio::task::AbortHandle,
    into: Observation,
    keys: Vec<String>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bench {
    async fn new(change: impl FnOnce(&mut PrometheusConfig)) -> Bench {
        let play = Shared::default();
        let (url, server) = serve(&play).await;
        let mut config = PrometheusConfig::plain("lab", url);
        config.selectors = vec!["node_pressure_io_waiting_seconds_total".into()];
        change(&mut config);
        let into = Observation::new(SensorId::from("lab"), Time(0), config.interval);
        Bench { sensor: PrometheusSensor::new(config).unwrap(), play, server, into, keys: Vec::new() }
    }

    /// Changes what the server plays.
    fn stage(&self, change: impl FnOnce(&mut Play)) {
        change(&mut self.play.lock().unwrap());
    }

    async fn read(&mut self, second: i64) {
        self.play.lock().unwrap().now = second;
        self.into.reset(Time(second * 1000));
        self.into.interval = self.sensor.spec().interval;
        self.sensor.read(self.into.at, &mut self.into).await;
        assert_eq!(self.keys.len(), self.into.declared_before as usize);
        self.keys.extend(self.into.declared.iter().map(|decl| decl.key.to_string()));
    }

    /// Stamps and values of one metric, in the order given.
    fn stamped(&self, metric: &str) -> Vec<(i64, f64)> {
        let named = |s: &&StampedSample| self.keys[s.series as usize].starts_with(metric);
        self.into.stamped.iter().filter(named).map(|s| (s.at.millis(), s.value)).collect()
    }

    fn rows(&self) -> BTreeMap<&str, f64> {
        self.into.samples.iter().map(|s| (self.keys[s.series as usize].as_str(), s.value)).collect()
    }
}

#[tokio::test]
async fn the_past_comes_first_once_and_in_order_and_then_every_sample_once_with_its_true_stamp() {
    let mut bench = Bench::new(|config| config.backfill = Span::from_hours(6)).await;
    let mut stamps = Vec::new();
    let mut purposes = Vec::new();
    for read in 0..6 {
        bench.read(START + 15 * read).await;
        stamps.extend(bench.stamped("node_pressure_io").into_iter().map(|(at, _)| at));
        purposes.push(bench.into.purpose);
    }
    let fresh = purposes.iter().position(|purpose| *purpose == Purpose::Fresh).unwrap();
    assert!(fresh >= 1 && purposes[fresh..].iter().all(|purpose| *purpose == Purpose::Fresh), "{purposes:?}");
    let expected: Vec<i64> = (START - 21_600..START + 75).step_by(15).map(|second| second * 1000 + 123).collect();
    assert_eq!(stamps, expected, "no gap, none twice, in order, not rounded");
    let derived = bench.stamped("node_pressure_ratio");
    assert_eq!((derived.len(), derived[0].1), (1, 2.0), "the rate goes on over the reads");
    assert_eq!(bench.into.interval, Span::from_secs(15));
    assert_eq!(bench.stamped("prometheus_up"), [((START + 75) * 1000, 1.0)]);
}

#[tokio::test]
async fn what_the_server_says_of_itself_becomes_rows() {
    let mut bench = Bench::new(|config| config.backfill = Span::ZERO).await;
    bench.read(START).await;
    let expected = [
        (r#"prometheus_alert_active{alertname="NodeDown",state="firing"}"#, 1.0),
        (r#"prometheus_rule_health{group="g",rule="A"}"#, 1.0),
        (r#"prometheus_rule_health{group="g",rule="B"}"#, 0.0),
        (r#"prometheus_target_up{instance="nas:9100",job="node"}"#, 0.0),
    ];
    assert_eq!(bench.rows(), BTreeMap::from(expected));
    assert!(bench.into.faults.iter().any(|fault| fault.detail == "connection refused"), "{:?}", bench.into.faults);
    bench.read(START + 15).await;
    assert_eq!(bench.into.faults, [], "the same error is told once");
}

#[tokio::test]
async fn a_gap_is_backfilled_before_the_present_and_a_dead_server_is_blind() {
    let mut bench = Bench::new(|config| (config.backfill, config.alerts) = (Span::from_hours(1), false)).await;
    while bench.into.purpose == Purpose::Backfill || bench.into.at == Time(0) {
        bench.read(START).await;
    }
    bench.play.lock().unwrap().instead = vec![(404, "404 page not found".into())];
    bench.read(START + 15).await;
    assert_eq!((bench.into.health, bench.into.faults[0].code), (Health::Degraded, FaultCode::NotFound));
    // Ten minutes nobody read; the server scraped on.
    bench.read(START + 600).await;
    let stamps: Vec<i64> = bench.stamped("node_pressure_io").iter().map(|(at, _)| *at).collect();
    let expected: Vec<i64> = (START..START + 600).step_by(15).map(|second| second * 1000 + 123).collect();
    assert_eq!((bench.into.purpose, stamps), (Purpose::Backfill, expected));
    bench.read(START + 615).await;
    assert_eq!((bench.into.purpose, bench.stamped("node_pressure_io").len()), (Purpose::Fresh, 1));
    let server = bench.server.clone();
    server.abort();
    while !server.is_finished() {
        tokio::task::yield_now().await;
    }
    // Kept connections end with the runtime's tasks; a new sensor has none.
    let mut config = bench.sensor.config.clone();
    config.timeout = Span::from_secs(2);
    bench.sensor = PrometheusSensor::new(config).unwrap();
    bench.keys.clear();
    bench.read(START + 630).await;
    assert_eq!((bench.into.health, bench.into.samples.len()), (Health::Blind, 0));
    assert_eq!(bench.stamped("prometheus_up"), [((START + 630) * 1000, 0.0)]);
    assert!(bench.into.vanished.is_empty(), "an outage makes nothing vanish");
    assert!(bench.into.faults.iter().any(|fault| fault.code == FaultCode::Unreachable), "{:?}", bench.into.faults);
}

#[tokio::test]
async fn a_slice_that_times_out_is_halved_until_it_comes() {
    let mut bench = Bench::new(|config| config.backfill = Span::from_hours(1)).await;
    bench.play.lock().unwrap().slice_max = 500;
    let mut stamps = Vec::new();
    for read in 0..40 {
        bench.read(START + 15 * read).await;
        stamps.extend(bench.stamped("node_pressure_io").into_iter().map(|(at, _)| at));
        if bench.into.purpose == Purpose::Fresh {
            break;
        }
    }
    assert_eq!(bench.into.purpose, Purpose::Fresh);
    assert!(stamps.len() >= 240 && stamps.windows(2).all(|pair| pair[1] - pair[0] == 15_000), "{} samples", stamps.len());
}

#[tokio::test]
async fn busy_answers_are_tried_again_and_wrong_queries_are_not() {
    let mut bench = Bench::new(|config| config.backfill = Span::ZERO).await;
    bench.play.lock().unwrap().instead = vec![(503, "not ready".into()), (429, String::new())];
    bench.read(START).await;
    assert_eq!((bench.play.lock().unwrap().asked.len(), bench.stamped("node_pressure_io").len()), (3, 2));
    for (status, body, code) in [
        (400, r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#, FaultCode::Malformed),
        (422, r#"{"status":"error","errorType":"execution","error":"many-to-many"}"#, FaultCode::Failed),
        (200, "<html>", FaultCode::Malformed),
        (200, r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__na"#, FaultCode::Malformed),
        (200, r#"{"status":"success","warnings":["remote read failed"],"data":{"resultType":"matrix","result":[]}}"#, FaultCode::Failed),
    ] {
        bench.stage(|play| {
            play.asked.clear();
            play.instead = vec![(status, body.into())];
        });
        bench.read(START + 15).await;
        assert_eq!(bench.play.lock().unwrap().asked.len(), 1, "{status} {body}");
        assert_eq!((bench.into.faults[0].code, bench.into.health), (code, Health::Degraded), "{status} {body}");
    }
}

#[tokio::test]
async fn series_that_stop_vanish_and_the_future_and_the_flood_are_refused() {
    let mut bench = Bench::new(|config| (config.backfill, config.series_max, config.targets) = (Span::ZERO, 3, false)).await;
    let future = format!(r#"{{"metric":{{"__name__":"f"}},"values":[[{},"1"]]}}"#, START + 3600);
    let wide: Vec<String> = (0..10_000).map(|i| format!(r#""l{i}":"x""#)).collect();
    let wide = format!(r#"{{"metric":{{"__name__":"w",{}}},"values":[[{START},"1"]]}}"#, wide.join(","));
    let flood: Vec<String> =
        (0..50).map(|i| format!(r#"{{"metric":{{"__name__":"s","i":"{i}"}},"value":[{START},"1"],"histogram":[1,{{}}]}}"#)).collect();
    bench.play.lock().unwrap().extra = format!("{future},{wide},{}", flood.join(","));
    bench.read(START).await;
    let faults: Vec<&str> = bench.into.faults.iter().map(|fault| fault.detail.split(':').next().unwrap()).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults.iter().any(|f| f.contains("in the future")) && faults.iter().any(|f| f.starts_with("1 series were left out")),
        "{faults:?}"
    );
    assert!(faults.iter().any(|f| f.starts_with("49 series were left out")), "{faults:?}");
    assert_eq!(bench.stamped("f{").len() + bench.stamped("w{").len(), 0);
    bench.stage(|play| (play.extra, play.outage) = (String::new(), Some((START + 15, START + 10_000))));
    for read in 1..=24 {
        bench.read(START + 15 * read).await;
        let names: Vec<&str> = bench.into.vanished.iter().map(|number| bench.keys[*number as usize].as_str()).collect();
        let gone = names.iter().any(|name| name.starts_with("node_pressure_io"));
        assert_eq!(gone, read == 21, "read {read}: {names:?}");
        assert_eq!(names.iter().any(|name| name.starts_with("node_pressure_ratio")), gone, "the derived series goes along");
    }
}

#[tokio::test]
async fn expressions_are_read_under_their_name_now_and_then() {
    let mut bench = Bench::new(|config| {
        config.queries = vec![RecordedQuery { record: "lab:power".into(), query: "sum by (zone) (x)".into() }];
        (config.selectors, config.backfill, config.interval) = (Vec::new(), Span::from_hours(6), Span::from_secs(1));
        config.timeout = Span::from_secs(1);
    })
    .await;
    let mut stamps = Vec::new();
    for read in 0..20 {
        bench.read(START + read).await;
        assert_eq!(bench.into.faults.iter().filter(|f| f.code == FaultCode::Limit).count(), 0, "{:?}", bench.into.faults);
        stamps.extend(bench.stamped(r#"{"lab:power""#).into_iter().chain(bench.stamped("lab:power{")).map(|(at, _)| at));
        if bench.into.purpose == Purpose::Fresh {
            break;
        }
    }
    assert_eq!(bench.into.purpose, Purpose::Fresh);
    assert!(stamps.len() > 21_000 && stamps.windows(2).all(|pair| pair[1] > pair[0]), "{}", stamps.len());
}

#[tokio::test]
async fn a_read_that_is_dropped_loses_nothing() {
    let mut bench = Bench::new(|config| config.backfill = Span::ZERO).await;
    bench.play.lock().unwrap().now = START;
    bench.into.reset(Time(START * 1000));
    {
        let mut read = bench.sensor.read(Time(START * 1000), &mut bench.into);
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
    }
    bench.read(START + 1).await;
    assert_eq!(bench.stamped("node_pressure_io").len(), 3, "all of the window's");
}

#[test]
fn wrong_configurations_name_the_field() {
    for (change, field) in [
        (r#"{"url":"http://p:9090","selectors":["up[5m]"]}"#, "up[5m]"),
        (r#"{"url":"http://p:9090","timeout":"1m"}"#, "`timeout`"),
        (r#"{"url":"http://p:9090","queries":[{"record":"","query":"x"}]}"#, "`record`"),
        (r#"{"url":"p:9090"}"#, "scheme"),
    ] {
        let config: PrometheusConfig = serde_json::from_str(change).unwrap();
        let fault = PrometheusSensor::new(config).err().unwrap();
        assert!(fault.to_string().contains(field), "{change}: {fault}");
    }
    assert!(serde_json::from_str::<PrometheusConfig>(r#"{"url":"http://p:9090","selector":["up"]}"#).is_err());
}

#[test]
fn every_captured_answer_parses_to_the_right_thing() {
    let files = corpus::files("sensing/captured/prometheus_api", ".json");
    let faults: HashMap<&str, FaultCode> = HashMap::from([
        ("admin_disabled.json", FaultCode::Conflict),
        ("query_bad_time.json", FaultCode::Malformed),
        ("query_exec_error.json", FaultCode::Failed),
        ("query_missing.json", FaultCode::Malformed),
        ("query_parse_error.json", FaultCode::Malformed),
        ("query_range_end_before.json", FaultCode::Malformed),
        ("query_range_toomany.json", FaultCode::Limit),
        ("query_range_zero_step.json", FaultCode::Malformed),
        ("query_timeout.json", FaultCode::Malformed),
        ("series_nomatch.json", FaultCode::Malformed),
    ]);
    let series: HashMap<&str, usize> = HashMap::from([
        ("limit_unsupported.json", 13),
        ("query_empty.json", 0),
        ("query_matrix.json", 13),
        ("query_nan.json", 1),
        ("query_up.json", 13),
        ("query_up_post.json", 2),
        ("query_scalar.json", 0),
        ("query_string.json", 0),
    ]);
    for (name, body) in &files {
        if let Some(code) = faults.get(&**name) {
            assert_eq!(answer::read::<QueryData<'_>>(body, "x").unwrap_err().code, *code, "{name}");
            continue;
        }
        answer::read::<serde::de::IgnoredAny>(body, "x").unwrap_or_else(|fault| panic!("{name}: {fault}"));
        if name.starts_with("query_") || name.starts_with("limit_") {
            let (data, warnings) = answer::read::<QueryData<'_>>(body, "x").unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert!(warnings.is_empty() && data.dropped == 0, "{name}");
            if let Some(count) = series.get(&**name) {
                assert_eq!(data.items.len(), *count, "{name}");
            } else {
                assert!(!data.items.is_empty() && data.items.iter().all(|item| item.values.len() > 1), "{name}");
            }
            match name.as_str() {
                "query_nan.json" => assert!(data.items[0].values[0].1.is_nan()),
                "query_scalar.json" => assert_eq!(data.scalar, Some((Time(1_795_217_750_578), f64::INFINITY))),
                "query_up.json" => assert_eq!(data.items[0].values, [(Time(1_795_217_750_558), 1.0)]),
                _ => {}
            }
        }
    }
    if files.is_empty() {
        return;
    }
    assert!(files.len() > 30, "{}", files.len());
    let (mut status, mut dictionary) = (Status::default(), Dictionary::new(1000));
    let mut into = Observation::new(SensorId::from("s"), Time(0), Span::from_secs(15));
    dictionary.begin(&mut into);
    let body = |name: &str| &files.iter().find(|(file, _)| file == name).unwrap().1;
    status.alerts(body("alerts.json"), "x", &mut dictionary, &mut into).unwrap();
    assert_eq!(into.samples.len(), 3);
    status.rules(body("rules.json"), "x", &mut dictionary, &mut into).unwrap();
    status.targets(body("targets.json"), "x", &mut dictionary, &mut into).unwrap();
    assert!(into.declared.iter().any(|decl| decl.key.to_string() == r#"prometheus_target_up{instance="127.0.0.1:19199",job="node"}"#));
    assert!(into.faults.iter().any(|fault| fault.detail.contains("connection refused")));
    assert_eq!(answer::refusal(404, b"404 page not found", "x").code, FaultCode::NotFound);
    assert_eq!(answer::refusal(503, b"Service Unavailable", "x").code, FaultCode::Conflict);
    println!("{} captured answers read", files.len());
}
