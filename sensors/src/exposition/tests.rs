use super::*;
use crate::corpus;
use homeostat_model::{Observation, SensorId, SeriesKey, Span, Time};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Collects what a page says, written as PromQL writes it.
#[derive(Default)]
struct Collect(Vec<(String, f64, Option<i64>)>);

fn key_of(sample: &SampleText<'_, '_>) -> SeriesKey {
    SeriesKey::new(&*sample.name.unescape(), sample.labels.iter().map(|(n, v)| (n.unescape().into_owned(), v.unescape().into_owned())))
}

impl Sink for Collect {
    fn sample(&mut self, sample: &SampleText<'_, '_>) -> Taken {
        self.0.push((key_of(sample).to_string(), sample.value, sample.at_ms));
        Taken::Yes
    }
    fn restart(&mut self) {
        self.0.clear();
    }
}

fn read(page: &[u8], format: Format) -> (Vec<(String, f64, Option<i64>)>, PageReport) {
    let mut collect = Collect::default();
    let report = parse(page, format, &mut collect);
    (collect.0, report)
}

fn text(page: &str) -> Vec<(String, f64, Option<i64>)> {
    let (samples, report) = read(page.as_bytes(), Format::Text);
    assert!(report.is_clean(), "{page:?}: {report:?}");
    samples
}

#[test]
fn text_pages_are_read_as_prometheus_reads_them() {
    for (line, key, value, at) in [
        ("up 1", "up", 1.0, None),
        (" up\t1 \n", "up", 1.0, None),
        ("a{} 1\n", "a", 1.0, None),
        ("a {b=\"c\"} 1 1700000000123\n", "a{b=\"c\"}", 1.0, Some(1_700_000_000_123)),
        ("a{ b = \"c\" d=\"e\", }  -2.5e-3\n", "a{b=\"c\",d=\"e\"}", -0.0025, None),
        ("job:up:sum{a=\"x,y\",b=\"p=q\",c=\"{id}\"} 3\n", "job:up:sum{a=\"x,y\",b=\"p=q\",c=\"{id}\"}", 3.0, None),
        ("a{q=\"say \\\"hi\\\" \\\\ \\x\"} 1\n", "a{q=\"say \\\"hi\\\" \\\\ \\\\x\"}", 1.0, None),
        ("a{q=\"two\\nlines\"} 1\n", "a{q=\"two\\nlines\"}", 1.0, None),
        ("a{q=\"raw\nbreak\"} 1\n", "a{q=\"raw\\nbreak\"}", 1.0, None),
        ("{\"lab.power\",\"host.name\"=\"brain\"} 7\n", "{\"lab.power\",\"host.name\"=\"brain\"}", 7.0, None),
        ("{h=\"x\",\"lab.power\"} 7\n", "{\"lab.power\",h=\"x\"}", 7.0, None),
        ("a{b=\"c\"}+Inf\n", "a{b=\"c\"}", f64::INFINITY, None),
    ] {
        assert_eq!(text(line), [(key.to_owned(), value, at)], "{line:?}");
    }
    assert!(text("# a comment\n\n#\n# HELP\n# HELP x\n#\tTYPE x gauge\n# HELP \"q.x\" y\n# TYPEx y\n").is_empty());
    assert!(text("a NaN\n")[0].1.is_nan());
}

/// Lines that no page in the text format may have.
const BAD_TEXT: [&str; 34] = [
    "a",
    "a ",
    "a b",
    "a{b='c'} 1",
    "a{b=",
    "a{b=\"c",
    "a{b=\"c\\",
    "a{b}1",
    "a{=\"x\"} 1",
    "a{,} 1",
    "a{b=\"c\",,d=\"e\"} 1",
    "a{b:c=\"d\"} 1",
    "a{b=\"c\"",
    "{b=\"c\"} 1",
    "{\"a\",\"b\"} 1",
    "{\"\"} 1",
    "a{\"b\"} 1",
    "a{b=\"1\",b=\"2\"} 1",
    "a{__name__=\"b\"} 1",
    "a 1_2",
    "a 0x1p-3",
    "a 1 -5",
    "a 1 1.5",
    "a 1 99999999999999999999",
    "a 1 2 3",
    "a 1 # {x=\"y\"} 1",
    "9a 1",
    "é 1",
    "a-b 1",
    "a\r",
    "a 1\r",
    "# TYPE a thing",
    "# TYPE #",
    "# HELP #",
];

#[test]
fn a_bad_line_costs_itself_and_is_named() {
    for line in BAD_TEXT {
        let (samples, report) = read(format!("before 1\n{line}\nafter{{x=\"y\"}} 2\n").as_bytes(), Format::Text);
        assert_eq!(report.bad_lines, 1, "{line:?}: {report:?}");
        assert_eq!(report.faults[0].line, 2, "{line:?}: {report:?}");
        assert_eq!(samples.len(), 2, "{line:?}: {samples:?}");
    }
    let (_, report) = read(b"a{b=\"\xff\"} 1\n", Format::Text);
    assert_eq!((report.bad_lines, report.samples), (1, 0));
    let (_, report) = read(b"ok 1\nfoo{bar='x'} 1\n", Format::Text);
    let fault = LineFault { line: 2, column: 9, text: "expected a label value in double quotes, found \"'x'} 1\"".into(), limit: false };
    assert_eq!(report.faults, [fault]);
}

#[test]
fn openmetrics_pages_are_read_as_prometheus_reads_them() {
    for (line, key, value, at) in [
        ("up 1\n", "up", 1.0, None),
        ("a{b=\"c\"} 1 1520879607.789\n", "a{b=\"c\"}", 1.0, Some(1_520_879_607_789)),
        ("a_total 17.0 1520879607 # {id=\"x\"} 5\n", "a_total", 17.0, Some(1_520_879_607_000)),
        ("a_bucket{le=\"+Inf\"} 1 # {} 4 123.5\n", "a_bucket{le=\"+Inf\"}", 1.0, None),
        ("a 1 -1.5\n", "a", 1.0, Some(-1500)),
        ("{\"a.b\",\"c.d\"=\"e\"} nan\n", "{\"a.b\",\"c.d\"=\"e\"}", f64::NAN, None),
    ] {
        let (samples, report) = read(format!("# TYPE x gauge\n{line}# EOF\n").as_bytes(), Format::OpenMetrics);
        assert!(report.is_clean(), "{line}: {report:?}");
        assert_eq!((samples.len(), samples[0].0.as_str(), samples[0].2), (1, key, at), "{line}");
        assert!(samples[0].1 == value || value.is_nan() && samples[0].1.is_nan(), "{line}");
    }
    for page in ["# EOF", "# EOF\n", "# UNIT a_seconds seconds\n# UNIT a \n# HELP a \n# EOF"] {
        assert!(read(page.as_bytes(), Format::OpenMetrics).1.is_clean(), "{page:?}");
    }
}

#[test]
fn openmetrics_is_strict() {
    for line in [
        "",
        "a",
        " a 1",
        "a  1",
        "a\t1",
        "a 1 ",
        "a 1\t2",
        "a 1 2 ",
        "a 1 2 #",
        "a 1 1z",
        "a 1 1 1",
        "a 1 NaN",
        "a 1 -Inf",
        "a {b=\"c\"} 1",
        "a{ b=\"c\"} 1",
        "a{b=\"c\"d=\"e\"} 1",
        "a{b=\"c\", d=\"e\"} 1",
        "a{b=\"c\nd\"} 1",
        "#",
        "# a comment",
        "#\tTYPE c counter",
        "#  TYPE c counter",
        "# TYPE u untyped",
        "# TYPE c counter ",
        "# TYPE c  counter",
        "# TYPE m",
        "# TYPE ",
        "# UNIT metric suffix",
        "# UNIT metricsuffix suffix",
        "# UNIT m",
        "# HELP m",
        "# HELP ",
        "a_total 1 # {aa=bb} 1",
        "a_total 1 # {aa=\"bb\"}",
        "a_total 1 # {bb} 1",
        "a_total 1 # {aa=\"bb\",,c=\"d\"} 1",
        "a_total 1 # {a=\"b\"} 1_2",
        "a_total 1 # {a=\"b\"} true",
        "a_total 1 # {\"a\"} 1",
        "a 1 # {a=\"b\"} 4 NaN",
        "a 1\r",
        "{b=\"c\",} 1",
        "a 0x1P-3",
    ] {
        let (samples, report) = read(format!("ok 1\n{line}\nalso 2\n# EOF\n").as_bytes(), Format::OpenMetrics);
        assert!(report.bad_lines >= 1 && report.refused.is_none(), "{line:?}: {report:?}");
        assert_eq!(samples.len(), 2, "{line:?}: {samples:?}");
    }
    for page in
        ["", "\n", "a 1", "a 1\n", "a 1\n#EOF\n", " # EOF\n", "# EOF\n\n", "# EOFa 1", "# EOF\na 1", "# EOF\na 1\n# EOF\n", "a 1 # EOF\n"]
    {
        let (_, report) = read(page.as_bytes(), Format::OpenMetrics);
        assert!(report.refused.is_some(), "{page:?}: {report:?}");
    }
}

#[test]
fn there_is_never_half_a_histogram() {
    let page = "a 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} x\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n\
                # TYPE h_other gauge\nh_other 1\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 2\nh_bucket{le=\"3\",late=\"1\"} 1\n";
    let (samples, report) = read(page.as_bytes(), Format::Text);
    let names: Vec<&str> = samples.iter().map(|sample| sample.0.as_str()).collect();
    assert_eq!(names, ["a", "h_other", "s{quantile=\"0.5\"}", "s_sum", "s_count"]);
    assert_eq!((report.bad_lines, report.samples, report.dropped_samples), (1, 5, 5));
    assert_eq!(report.dropped_families, ["h"]);
    // Without a `# TYPE`, a bad bucket still costs its histogram.
    let (samples, report) = read(b"u_count 1\nu_bucket{le=\"1\"} oops\nu_sum 1\nx 1\n", Format::Text);
    assert_eq!((samples.len(), report.dropped_families), (1, vec!["u".to_owned()]));
    // A bad line of which not even the name could be read costs the family that it stands in.
    let (samples, _) = read(b"# TYPE h histogram\nh_sum 1\n\x01\nh_count 1\n# TYPE g gauge\ng 1\n", Format::Text);
    assert_eq!(samples.len(), 1);
}

#[test]
fn bombs_cost_only_themselves() {
    let many = (0..LABELS_MAX + 1).map(|i| format!("l{i}=\"x\"")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(LABEL_BYTES_MAX + 1);
    let line = format!("a{{{}}} 1", (0..6).map(|i| format!("l{i}=\"{}\"", &long[1..])).collect::<Vec<_>>().join(","));
    for bomb in [format!("a{{{many}}} 1"), format!("a{{b=\"{long}\"}} 1"), line, format!("a{{b=\"{}", "y".repeat(LINE_BYTES_MAX))] {
        let (samples, report) = read(format!("ok 1\n{bomb}\nalso 2\n").as_bytes(), Format::Text);
        assert_eq!((samples.len(), report.bad_lines), (2, 1), "{:?}", report.faults);
        assert!(report.faults[0].limit, "{:?}", report.faults);
    }
}

#[test]
fn content_types_choose_the_format() {
    for (content_type, format) in [
        ("text/plain; version=0.0.4; charset=utf-8", Ok(Some(Format::Text))),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", Ok(Some(Format::Text))),
        ("text/plain", Ok(Some(Format::Text))),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Ok(Some(Format::OpenMetrics))),
        ("Application/OpenMetrics-Text", Ok(Some(Format::OpenMetrics))),
        ("text/html", Ok(None)),
        ("", Ok(None)),
    ] {
        assert_eq!(Format::of_content_type(content_type), format, "{content_type}");
    }
    assert!(Format::of_content_type("application/openmetrics-text; version=2.0.0").is_err());
    assert!(Format::of_content_type("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily").is_err());
}

// ---- the corpus -------------------------------------------------------------------------------------------------------------

fn pages(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            pages(&path, into);
        } else if name.ends_with(".prom") || name.ends_with(".om.txt") || name == "e2e-output.txt" || name == "promtestdata.txt" {
            into.push(path);
        }
    }
    into.sort();
}

#[test]
fn every_real_page_is_read() {
    let Some(root) = corpus::root() else { return };
    let mut paths = Vec::new();
    pages(&root.join("sensing"), &mut paths);
    let (mut samples, mut faulty) = (0, Vec::new());
    for path in &paths {
        let page = std::fs::read(path).unwrap();
        let format = if path.to_string_lossy().ends_with(".om.txt") { Format::OpenMetrics } else { Format::Text };
        let (read, report) = read(&page, format);
        samples += read.len();
        println!("{:6} samples, {} bad lines: {}", read.len(), report.bad_lines, path.strip_prefix(&root).unwrap().display());
        if !report.is_clean() || read.is_empty() {
            faulty.push((path.clone(), report));
        }
        check_memo(&[page.clone(), page], format, usize::MAX);
    }
    println!("{} pages, {samples} samples, {} pages with faults", paths.len(), faulty.len());
    assert!(paths.len() > 40 && samples > 6500, "{} pages, {samples} samples", paths.len());
    assert!(faulty.is_empty(), "{faulty:?}");
}

#[test]
fn every_page_that_prometheus_refuses_is_reported() {
    for (name, format) in [("parse_errors.json", Format::Text), ("parse_errors.om.json", Format::OpenMetrics)] {
        let path = format!("sensing/prometheus/{name}");
        if !corpus::root().is_some_and(|root| root.join(&path).exists()) {
            eprintln!("SKIPPED: no {path} in the corpus");
            continue;
        }
        let cases: Vec<serde_json::Value> = serde_json::from_slice(&corpus::read(&path).unwrap()).unwrap();
        for case in &cases {
            // Bytes above 0x7f stand as Latin-1 characters in the file.
            let page: Vec<u8> = case["input"].as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
            if case["prometheus_error"] == "EOF" {
                continue;
            }
            let (_, report) = read(&page, format);
            assert!(report.bad_lines > 0 || report.refused.is_some(), "{case}: {report:?}");
        }
        println!("{} bad pages of {name} reported", cases.len());
    }
}

// ---- the memo ---------------------------------------------------------------------------------------------------------------

/// Numbers by identity, at most so many.
struct Numbers {
    known: BTreeMap<SeriesKey, u32>,
    max: usize,
}

impl Numbering for Numbers {
    fn number(&mut self, sample: &SampleText<'_, '_>, _: &mut Observation) -> Option<u32> {
        let key = key_of(sample);
        let next = self.known.len() as u32;
        match self.known.get(&key) {
            Some(number) => Some(*number),
            None if self.known.len() >= self.max => None,
            None => {
                self.known.insert(key, next);
                Some(next)
            }
        }
    }
    fn epoch(&self) -> u32 {
        0
    }
}

const NOW: Time = Time(1_700_000_000_000);

/// Reads pages one after the other with one memo, and each with a memo of its own; both must agree.
fn check_memo(pages: &[Vec<u8>], format: Format, series_max: usize) {
    let mut numbers = Numbers { known: BTreeMap::new(), max: series_max };
    let mut memo = PageMemo::new();
    let mut stamped_before: Vec<u32> = Vec::new();
    for page in pages {
        let mut known = Observation::new(SensorId::from("x"), NOW, Span::from_secs(15));
        let mut fresh = known.clone();
        let report = memo.read(&mut page.clone(), format, &mut numbers, &mut known);
        let expected = PageMemo::new().read(&mut page.clone(), format, &mut numbers, &mut fresh);
        assert_eq!(report, expected, "{:?}", String::from_utf8_lossy(page));
        let bits = |observation: &Observation| -> Vec<(u32, i64, u64)> {
            let samples = observation.samples.iter().map(|s| (s.series, -1, s.value.to_bits()));
            samples.chain(observation.stamped.iter().map(|s| (s.series, s.at.millis(), s.value.to_bits()))).collect()
        };
        assert_eq!(bits(&known), bits(&fresh), "{:?}", String::from_utf8_lossy(page));
        if report.refused.is_none() {
            let present: Vec<u32> = known.samples.iter().map(|s| s.series).chain(known.stamped.iter().map(|s| s.series)).collect();
            stamped_before.retain(|series| !present.contains(series));
            stamped_before.dedup();
            known.vanished.sort_unstable();
            known.vanished.dedup();
            stamped_before.sort_unstable();
            stamped_before.dedup();
            assert_eq!(known.vanished, stamped_before);
            stamped_before = known.stamped.iter().map(|s| s.series).collect();
        }
    }
}

/// Lines in which a page of the test differs from the next; `%` stands for a value.
const LINES: [&str; 28] = [
    "foo %",
    "foo  %",
    "foo{a=\"b\"} %",
    "foo{a=\"c\"} %",
    "foo {a=\"b\"} %",
    "foo{a=\"b\",c=\"d\"} %",
    "foobar %",
    "fo %",
    "# HELP foo a text",
    "# HELP foo a longer text",
    "# TYPE foo gauge",
    "# TYPE h histogram",
    "h_bucket{le=\"1\"} %",
    "h_bucket{le=\"+Inf\"} %",
    "h_sum %",
    "h_count %",
    "# TYPE s summary",
    "s{quantile=\"0.5\"} %",
    "s_sum %",
    "t % 1700000000000",
    "t % 1700000001000",
    "t{x=\"y\"} % 1600000000000",
    "",
    "e_total % # {id=\"x\"} 1",
    "q{w=\"two\nlines\"} %",
    "{\"u.v\"} %",
    "foo{b=\"1\",a=\"2\"} %",
    "foo{a=\"2\",b=\"1\"} %",
];
const VALUES: [&str; 12] =
    ["0", "1", "-1.5", "17", "1e3", "NaN", "7.424100000000001e-05", "123456789012345678901", "+Inf", "oops", "1 ", "1 1700000000500"];

fn page_of(lines: &[(usize, usize)], format: Format, end: bool) -> Vec<u8> {
    let mut page = String::new();
    for (line, value) in lines {
        page.push_str(&LINES[*line].replace('%', VALUES[*value]));
        page.push('\n');
    }
    match (format, end) {
        (Format::OpenMetrics, true) => page.push_str("# EOF\n"),
        (Format::Text, false) => drop(page.pop()),
        _ => {}
    }
    page.into_bytes()
}

/// What happens between two pages: at a place, with a line and a value.
fn change(lines: &mut Vec<(usize, usize)>, (kind, place, line, value): (u8, usize, usize, usize)) {
    let place = place % (lines.len() + 1);
    match kind {
        0 | 1 => lines.insert(place, (line, value)),
        2 | 3 if place < lines.len() => drop(lines.remove(place)),
        4 if place < lines.len() => lines.rotate_left(place),
        5 if place < lines.len() => lines.truncate(place),
        6 => lines.iter_mut().for_each(|line| line.1 = (line.1 + value) % 8),
        _ if place < lines.len() => lines[place].1 = value,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn the_memo_agrees_with_the_parser(
        first in proptest::collection::vec((0..LINES.len(), 0usize..8), 0..40),
        changes in proptest::collection::vec(proptest::collection::vec((0u8..9, 0usize..40, 0..LINES.len(), 0..VALUES.len()), 0..4), 1..7),
        openmetrics: bool, end in proptest::bool::weighted(0.9), limited: bool,
    ) {
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let mut lines = first;
        let mut pages = vec![page_of(&lines, format, true)];
        for step in changes {
            step.into_iter().for_each(|one| change(&mut lines, one));
            pages.push(page_of(&lines, format, end));
        }
        check_memo(&pages, format, if limited { 4 } else { usize::MAX });
    }

    #[test]
    fn clean_pages_that_move_agree_too(
        order in proptest::collection::vec(proptest::sample::subsequence((0..60usize).collect::<Vec<_>>(), 30..60), 2..6),
        values in proptest::collection::vec(0usize..6, 60), rotate in 0usize..30,
    ) {
        let pages: Vec<Vec<u8>> = order.iter().enumerate().map(|(round, lines)| {
            let mut lines = lines.clone();
            lines.rotate_left(rotate * round % 30);
            lines.iter().map(|i| format!("# HELP m{} x\nm{}{{i=\"{i}\"}} {}\n", i / 7, i / 7, VALUES[(values[*i] + round) % 6])).collect::<String>().into_bytes()
        }).collect();
        check_memo(&pages, Format::Text, usize::MAX);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(page in proptest::collection::vec(proptest::sample::select(b"a{}=\",\\ \n\t#1.eE+- HELPTYPOF\xff:_".to_vec()), 0..200)) {
        for format in [Format::Text, Format::OpenMetrics] {
            let _ = read(&page, format);
            check_memo(&[page.clone(), page.clone()], format, usize::MAX);
        }
    }
}

#[test]
fn the_memo_really_is_used() {
    /// Counts how often a series' number is asked for.
    struct Counting(Numbers, usize);
    impl Numbering for Counting {
        fn number(&mut self, sample: &SampleText<'_, '_>, into: &mut Observation) -> Option<u32> {
            self.1 += 1;
            self.0.number(sample, into)
        }
        fn epoch(&self) -> u32 {
            0
        }
    }
    let mut numbers = Counting(Numbers { known: BTreeMap::new(), max: usize::MAX }, 0);
    let (mut memo, mut into) = (PageMemo::new(), Observation::new(SensorId::from("x"), NOW, Span::from_secs(15)));
    let page = |from: usize, to: usize, value: usize| -> Vec<u8> {
        (from..to).map(|i| format!("m{{i=\"{i}\"}} {value}\n")).collect::<String>().into_bytes()
    };
    // The same lines, then two fewer at the front, then one more, then all in another order.
    let mut turned = page(50, 101, 4);
    turned.extend(page(2, 50, 4));
    for (page, asked) in [(page(0, 100, 1), 100), (page(0, 100, 2), 100), (page(2, 100, 2), 100), (page(2, 101, 3), 101), (turned, 101)] {
        into.reset(NOW);
        memo.read(&mut page.clone(), Format::Text, &mut numbers, &mut into);
        assert_eq!(numbers.1, asked, "{:?}", String::from_utf8_lossy(&page[..12]));
    }
}
