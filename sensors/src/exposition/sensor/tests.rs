use super::*;
use crate::corpus;
use homeostat_model::{SeriesDecl, SeriesKey};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Derives nothing.
struct Nothing;

impl Derive for Nothing {
    fn reset(&mut self) {}
    fn declared(&mut self, _: &[SeriesDecl], _: u32, _: &mut Dictionary, _: &mut Observation) {}
    fn derive(&mut self, _: &mut Dictionary, _: &mut Observation) {}
}

/// One prepared answer: raw bytes, and whether the connection then stays open without a word.
#[derive(Clone)]
struct Prepared {
    bytes: Vec<u8>,
    hang: bool,
}

/// Serves prepared answers, one per connection, and keeps the requests. Ends with the test's runtime.
async fn serve(answers: Vec<Prepared>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = requests.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the request ended early");
                request.extend_from_slice(&buffer[..count]);
            }
            kept.lock().unwrap().push(String::from_utf8(request).unwrap());
            let _ = stream.write_all(&answer.bytes).await;
            if answer.hang {
                open.push(stream);
            }
        }
        std::future::pending::<()>().await;
    });
    (format!("http://{address}/metrics"), requests)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Prepared {
    let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}").into_bytes();
    if !headers.contains("Content-Length") {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    Prepared { bytes, hang: false }
}

fn page(body: &str) -> Prepared {
    answer("200 OK", "Content-Type: text/plain; version=0.0.4\r\n", body.as_bytes())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Reads once per prepared answer and returns the observations and requests.
fn observe(answers: Vec<Prepared>, adapt: impl FnOnce(&mut ExpositionConfig)) -> (Vec<Observation>, Vec<String>) {
    runtime().block_on(async {
        let count = answers.len();
        let (url, requests) = serve(answers).await;
        let mut config = ExpositionConfig::plain("node", url);
        adapt(&mut config);
        let mut sensor = ExpositionSensor::new(config, Box::new(Nothing)).unwrap();
        let mut observations = Vec::new();
        for round in 0..count {
            let mut into = Observation::new(sensor.spec().id, Time(1_700_000_000_000 + round as i64 * 15_000), sensor.spec().interval);
            sensor.read(into.at, &mut into).await;
            observations.push(into);
        }
        let requests = requests.lock().unwrap().clone();
        (observations, requests)
    })
}

fn one(prepared: Prepared) -> Observation {
    observe(vec![prepared], |_| ()).0.remove(0)
}

/// The values of `up` and `scrape_samples_scraped`.
fn own(observation: &Observation) -> (f64, f64) {
    let value = |series: u32| observation.stamped.iter().find(|sample| sample.series == series).unwrap().value;
    (value(0), value(2))
}

#[track_caller]
fn assert_blind(observation: &Observation, code: FaultCode, words: &str) {
    assert_eq!(observation.health, Health::Blind, "{:?}", observation.faults);
    assert!(observation.samples.is_empty());
    assert_eq!(observation.stamped.len(), 3);
    assert_eq!(own(observation).0, 0.0);
    assert_eq!(observation.faults.len(), 1, "{:?}", observation.faults);
    let fault = &observation.faults[0];
    assert_eq!(fault.code, code, "{fault}");
    assert!(fault.to_string().contains(words), "{fault}");
    assert!(fault.while_doing.contains("http://127.0.0.1:"), "{fault}");
}

#[test]
fn a_page_becomes_an_observation() {
    let first = "# TYPE a gauge\na{job=\"x\"} 1\nb 2 1700000000000\n";
    let second = "# TYPE a gauge\na{job=\"x\"} 3\nc 4\n";
    let (observations, requests) = observe(vec![page(first), page(second)], |config| {
        config.labels.insert("rack".into(), "r1".into());
    });
    let [one, two] = &observations[..] else { panic!() };
    assert_eq!((one.health, two.health), (Health::Ok, Health::Ok), "{:?} {:?}", one.faults, two.faults);
    let names: Vec<String> = one.declared.iter().map(|decl| decl.key.to_string()).collect();
    let instance = requests[0].lines().find_map(|line| line.strip_prefix("host: ").or(line.strip_prefix("Host: "))).unwrap();
    assert_eq!(names[0], format!("up{{instance=\"{instance}\",job=\"node\",rack=\"r1\"}}"));
    assert_eq!(names[3], format!("a{{exported_job=\"x\",instance=\"{instance}\",job=\"node\",rack=\"r1\"}}"));
    assert_eq!(one.declared.iter().map(|decl| decl.cohort).collect::<Vec<_>>(), [1, 1, 1, 0, 0]);
    assert_eq!((one.samples.len(), one.stamped.len(), own(one)), (1, 4, (1.0, 2.0)));
    assert_eq!((two.declared_before, two.declared.len(), two.samples.len()), (5, 1, 2));
    assert_eq!(two.vanished, [4], "b came with a time of its own and is gone");
    assert_eq!((two.samples[0].series, two.samples[0].value), (3, 3.0));
    let request = requests[0].to_ascii_lowercase();
    assert!(request.contains("accept: application/openmetrics-text;version=1.0.0"), "{request}");
    assert!(request.contains("x-prometheus-scrape-timeout-seconds: 10\r\n"), "{request}");
    assert!(!request.contains("accept-encoding"), "no gzip from this machine itself: {request}");
}

#[test]
fn openmetrics_is_chosen_by_the_answer_and_a_cut_page_is_blind() {
    let headers = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    let observation = one(answer("200 OK", headers, b"a_total 1 1700000000.5\nb 1\n# EOF\n"));
    assert_eq!((observation.health, observation.samples.len(), observation.stamped[0].at), (Health::Ok, 1, Time(1_700_000_000_500)));
    let mut observation = one(answer("200 OK", headers, b"a_total 1\nb 1\n"));
    assert_blind(&observation, FaultCode::Malformed, "does not end with `# EOF`");
    observation = one(answer("200 OK", "Content-Type: application/openmetrics-text; version=2.0.0\r\n", b"a 1\n# EOF\n"));
    assert_blind(&observation, FaultCode::Malformed, "version other than 1.0.0");
}

#[test]
fn a_newer_openmetrics_is_asked_for_text_next_time() {
    let newer = answer("200 OK", "Content-Type: application/openmetrics-text; version=2.0.0\r\n", b"a 1\n# EOF\n");
    let (observations, requests) = observe(vec![newer, page("a 1\n")], |_| ());
    assert_eq!((observations[0].health, observations[1].health), (Health::Blind, Health::Ok));
    assert!(requests[1].contains("text/plain;version=0.0.4\r\n") && !requests[1].contains("openmetrics"), "{}", requests[1]);
}

#[test]
fn gzip_is_undone_and_capped_after_undoing() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all("a 1\n".repeat(2000).as_bytes()).unwrap();
    encoder.write_all(b"b 2\n").unwrap();
    let packed = encoder.finish().unwrap();
    let headers = "Content-Type: text/plain; version=0.0.4\r\nContent-Encoding: gzip\r\n";
    let ask = |config: &mut ExpositionConfig| config.gzip = Some(true);
    let (observations, requests) = observe(vec![answer("200 OK", headers, &packed)], ask);
    assert!(requests[0].to_ascii_lowercase().contains("accept-encoding: gzip"), "{}", requests[0]);
    assert_eq!((observations[0].samples.len(), observations[0].health), (2, Health::Degraded), "1,999 duplicates");
    assert!(packed.len() < 1000);
    let (observations, _) =
        observe(vec![answer("200 OK", headers, &packed)], |config| (config.gzip, config.body_bytes_max) = (Some(true), 1000));
    assert_blind(&observations[0], FaultCode::Limit, "more than 1000 bytes");
    let (observations, _) = observe(vec![answer("200 OK", headers, &packed[..packed.len() / 2])], ask);
    assert_blind(&observations[0], FaultCode::Malformed, "broke off");
}

#[test]
fn servers_that_fail_or_lie_make_a_blind_read_with_a_precise_fault() {
    let html = "<!DOCTYPE html>\n<html>\n<body>Please log in</body>\n</html>\n";
    for (prepared, code, words) in [
        (answer("500 Internal Server Error", "", b"An error has occurred:\ncollector failed"), FaultCode::Failed, "status 500"),
        (answer("401 Unauthorized", "", b""), FaultCode::Denied, "status 401"),
        (answer("403 Forbidden", "", b""), FaultCode::Denied, "status 403"),
        (answer("404 Not Found", "", b"404 page not found"), FaultCode::NotFound, "page not found"),
        (answer("200 OK", "Content-Length: 500\r\n", b"a 1\n"), FaultCode::Malformed, "broke off after 4 bytes"),
        (answer("200 OK", "Transfer-Encoding: chunked\r\nContent-Length-Not: 0\r\n", b"4\r\na 1\n\r\n"), FaultCode::Malformed, "broke off"),
        (
            answer("302 Found", "Location: http://192.0.2.1/login\r\n", b""),
            FaultCode::Malformed,
            "redirected to another server, http://192.0.2.1/login",
        ),
        (Prepared { bytes: b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), hang: false }, FaultCode::Unreachable, "HTTP"),
        (page("\u{1}\u{2}\nrubbish\n"), FaultCode::Malformed, "not a page of metrics"),
        (page(html), FaultCode::Malformed, "line 1: expected"),
    ] {
        assert_blind(&one(prepared), code, words);
    }
}

#[test]
fn a_page_of_html_without_the_right_content_type_is_blind_and_says_both() {
    let observation = one(answer("200 OK", "Content-Type: text/html\r\n", b"<html>\nlogin\n</html>\n"));
    assert_eq!((observation.health, observation.faults.len()), (Health::Blind, 2), "{:?}", observation.faults);
    assert!(observation.faults[0].detail.contains("`text/html`"));
}

#[test]
fn an_unknown_content_type_is_reported_once_per_change() {
    let strange = || answer("200 OK", "Content-Type: text/x-metrics\r\n", b"a 1\n");
    let (observations, _) = observe(vec![strange(), strange(), answer("200 OK", "", b"a 1\n"), page("a 1\n"), strange()], |_| ());
    let healths: Vec<Health> = observations.iter().map(|observation| observation.health).collect();
    assert_eq!(healths, [Health::Degraded, Health::Ok, Health::Degraded, Health::Ok, Health::Degraded]);
    assert!(observations.iter().all(|observation| observation.samples.len() == 1));
}

#[test]
fn a_body_over_the_cap_is_refused_whether_announced_or_not() {
    let body = "a 1\n".repeat(100);
    let small = |config: &mut ExpositionConfig| config.body_bytes_max = 100;
    assert_blind(&observe(vec![page(&body)], small).0[0], FaultCode::Limit, "announced");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let chunked = answer("200 OK", "Transfer-Encoding: chunked\r\nContent-Length-Not: 0\r\n", chunked.as_bytes());
    assert_blind(&observe(vec![chunked], small).0[0], FaultCode::Limit, "has more than 100 bytes");
}

#[test]
fn a_body_that_never_ends_is_bounded_by_the_timeout_and_the_next_read_is_right() {
    let mut drip = page("a 1\n");
    drip.bytes = String::from_utf8(drip.bytes).unwrap().replace("Content-Length: 4", "Content-Length: 400").into_bytes();
    drip.hang = true;
    let quick = |config: &mut ExpositionConfig| config.timeout = Span::from_millis(200);
    let (observations, _) = observe(vec![drip, page("a 1\n")], quick);
    assert_blind(&observations[0], FaultCode::TimedOut, "4 bytes of the body had come");
    assert_eq!((observations[1].health, observations[1].samples.len()), (Health::Ok, 1));
}

#[test]
fn nobody_there_is_unreachable() {
    let observation = runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        drop(listener);
        let mut sensor = ExpositionSensor::new(ExpositionConfig::plain("gone", url), Box::new(Nothing)).unwrap();
        let mut into = Observation::new(sensor.spec().id, Time(0), sensor.spec().interval);
        sensor.read(Time(0), &mut into).await;
        into
    });
    assert_blind(&observation, FaultCode::Unreachable, "refused");
}

#[test]
fn node_up_follows_up_even_when_the_read_is_blind() {
    runtime().block_on(async {
        let (url, _) = serve(vec![page("node_load1 1\n"), answer("500 Internal Server Error", "", b"")]).await;
        let config = ExpositionConfig { node: Some("brain".into()), ..ExpositionConfig::plain("node", url) };
        let normaliser = crate::normalise::Normaliser::new(Some(config.node()), Vec::new());
        let mut sensor = ExpositionSensor::new(config, Box::new(normaliser)).unwrap();
        let mut into = Observation::new(sensor.spec().id, Time(0), sensor.spec().interval);
        let mut node_up = None;
        for (round, expected) in [(0, 1.0), (1, 0.0)] {
            into.reset(Time(round));
            sensor.read(Time(round), &mut into).await;
            let declared = (into.declared_before..).zip(&into.declared).find(|(_, decl)| &*decl.key.metric == "node_up");
            node_up = node_up.or(declared.map(|(number, decl)| {
                assert_eq!(decl.key.labels.get("node"), Some("brain"));
                number
            }));
            let sample = into.stamped.iter().find(|sample| Some(sample.series) == node_up).unwrap();
            assert_eq!((sample.at, sample.value), (Time(round), expected), "{:?}", into.faults);
        }
        assert_eq!(into.health, Health::Blind);
    });
}

#[test]
fn a_dropped_read_leaves_the_sensor_right() {
    runtime().block_on(async {
        let hang = Prepared { bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n".to_vec(), hang: true };
        let (url, _) = serve(vec![page("a 1\n"), hang, page("a 2\nb 3\n")]).await;
        let mut sensor = ExpositionSensor::new(ExpositionConfig::plain("node", url), Box::new(Nothing)).unwrap();
        let mut into = Observation::new(sensor.spec().id, Time(0), sensor.spec().interval);
        sensor.read(Time(0), &mut into).await;
        into.reset(Time(1));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(100), sensor.read(Time(1), &mut into)).await.is_err());
        into.reset(Time(2));
        sensor.read(Time(2), &mut into).await;
        assert_eq!((into.epoch, into.declared_before, into.declared.len(), into.samples.len()), (0, 4, 1, 2));
    });
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let (observations, requests) = observe(vec![answer("403 Forbidden", "", b"")], |config| {
        config.bearer = Some(Secret::Literal("hunter2".into()));
        config.headers.insert("X-Key".into(), Secret::Literal("hunter3".into()));
        assert!(!format!("{config:?}{}", serde_json::to_string(config).unwrap()).contains("hunter"));
    });
    let request = requests[0].to_ascii_lowercase();
    assert!(request.contains("authorization: bearer hunter2\r\n") && request.contains("x-key: hunter3\r\n"), "{request}");
    assert!(!format!("{:?}", observations[0]).contains("hunter"), "{:?}", observations[0]);
    let (observations, requests) = observe(vec![page("a 1\n")], |config| {
        config.basic = Some(BasicAuth { username: "me".into(), password: Secret::Env("HOMEOSTAT_NOT_SET".into()) });
    });
    assert!(requests.is_empty());
    assert_blind(&observations[0], FaultCode::Denied, "`HOMEOSTAT_NOT_SET` is not set");
}

#[test]
fn a_page_over_the_series_limit_is_read_up_to_it_and_churn_does_not_lock_it_up() {
    let body = |from: usize, to: usize| page(&(from..to).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect::<String>());
    let (observations, _) = observe(vec![body(0, 30), body(0, 10), body(100, 120), body(100, 120)], |config| config.series_max = 20);
    let counts: Vec<usize> = observations.iter().map(|observation| observation.samples.len()).collect();
    assert_eq!(counts, [20, 10, 0, 20]);
    assert_eq!(observations[0].faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), [FaultCode::Limit]);
    assert_eq!((observations[2].epoch, observations[3].epoch, observations[3].declared_before), (0, 1, 0));
    assert_eq!(observations[3].health, Health::Ok, "{:?}", observations[3].faults);
}

#[test]
fn bad_lines_duplicates_and_strange_times_are_reported() {
    let observation = one(page("a 1\na 2\nb 1 1\nc{x=y} 1\n# TYPE h histogram\nh_bucket{le=\"1\"} ?\nh_sum 1\nd 1\ne 1\n"));
    assert_eq!((observation.health, observation.samples.len()), (Health::Degraded, 3));
    let words = ["line 4, column 5", "line 6, column 18", "left out: h", "repeat a series", "10 minutes"];
    for (fault, words) in observation.faults.iter().zip(words) {
        assert!(fault.detail.contains(words), "{fault}");
    }
    assert_eq!(observation.faults.len(), words.len(), "{:?}", observation.faults);
}

#[test]
fn a_configuration_that_cannot_work_is_refused_by_field() {
    for (json, words) in [
        (r#"{"name":"","url":"http://nas/"}"#, "`name`"),
        (r#"{"name":"a","url":"http://nas/","timeout":"20s"}"#, "`timeout` is 20s"),
        (r#"{"name":"a","url":"http://nas/","body_bytes_max":0}"#, "`body_bytes_max`"),
        (r#"{"name":"a","url":"http://nas/","series_max":0}"#, "`series_max`"),
        (r#"{"name":"a","url":"http://nas/","labels":{"__name__":"x"}}"#, "`__name__`"),
        (r#"{"name":"a","url":"nas:9100"}"#, "scheme"),
    ] {
        let fault = ExpositionSensor::new(serde_json::from_str(json).unwrap(), Box::new(Nothing)).err().unwrap();
        assert!(fault.detail.contains(words), "{json}: {fault}");
    }
    assert!(serde_json::from_str::<ExpositionConfig>(r#"{"name":"a","url":"http://nas/","intervall":"1s"}"#).is_err());
    let config = ExpositionConfig::plain("a", "https://nas.lab/metrics");
    assert_eq!((config.instance(), config.node()), ("nas.lab:443".into(), "nas.lab".into()));
    assert!(serde_json::to_string(&schemars::schema_for!(ExpositionConfig)).unwrap().contains("honor_labels"));
}

#[test]
fn a_real_exporters_page_is_observed() {
    let Some(body) = corpus::read("sensing/captured/expositions/node_exporter_1.5.0.prom") else { return };
    let body = String::from_utf8(body).unwrap();
    let (observations, _) = observe(vec![page(&body), page(&body)], |_| ());
    for observation in &observations {
        assert_eq!((observation.health, observation.samples.len()), (Health::Ok, 507), "{:?}", observation.faults);
    }
    assert!(observations[1].declared.is_empty());
    let load = observations[0].declared.iter().position(|decl| &*decl.key.metric == "node_load1").unwrap();
    assert_eq!(
        observations[0].declared[load].key,
        SeriesKey { labels: observations[0].declared[0].key.labels.clone(), ..SeriesKey::bare("node_load1") }
    );
}
