//! From configuration to templates: everything about a request that can be wrong is found here, before anything is sent.
//!
//! Deliberately absent: IO. An editor breaks this by letting a place reach scheme, host, port or a header.

use super::{CallConfig, Configured, ProbeConfig, RequestConfig};
use crate::args::Declarations;
use crate::client::{Answer, Request, put_header};
use crate::redact::Redactor;
use crate::template::{JsonTemplate, Template, Values, is_verb_part, percent_encoded};
use homeostat_model::{Arg, Fault, FaultCode, Outcome, Planned, Receipt, Secret, Span, Verb, VerbSpec};
use regex::Regex;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest timeout that can be configured.
const TIMEOUT_MAX: Span = Span::from_hours(1);
/// The most attempts that can be configured.
const ATTEMPTS_MAX: u32 = 10;

#[derive(Debug)]
enum Body {
    None,
    Json(JsonTemplate),
    Text(Template),
}

/// A request ready to be filled in.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    url: Template,
    headers: BTreeMap<String, Secret>,
    body: Body,
    expect_status: Vec<u16>,
    expect_body: Option<Regex>,
    pub(super) idempotent: bool,
}

impl Call {
    /// The URL with its places filled. Refused if a value would change the path's shape (`..`), which percent-encoding cannot stop.
    pub(super) fn url(&self, values: &Values) -> Result<Url, String> {
        let text = self.url.render(values, percent_encoded);
        let url = Url::parse(&text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        let authority_end = text.find("://").map_or(0, |at| at + 3);
        let path_at = text[authority_end..].find(['/', '?']).map_or(text.len(), |at| authority_end + at);
        let path = text[path_at..].split('?').next().unwrap_or("");
        if url.path() != path && !(path.is_empty() && url.path() == "/") {
            return Err(format!("a value changes the path: `{path}` is read as `{}`", url.path()));
        }
        Ok(url)
    }

    /// The whole request. Learns the headers' secrets.
    pub(super) fn request(&self, values: &Values, key: Option<&str>, redactor: &mut Redactor) -> Result<Request, String> {
        let mut headers = HeaderMap::new();
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Text(text) => text.plain(values).into_bytes(),
            Body::Json(json) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                json.render(values).to_string().into_bytes()
            }
        };
        for (name, secret) in &self.headers {
            put_header(&mut headers, name, &redactor.take(secret)?)?;
        }
        if let Some(key) = key {
            put_header(&mut headers, "idempotency-key", key)?;
        }
        Ok(Request { method: self.method.clone(), url: self.url(values)?, headers, body })
    }

    /// The request as a dry run shows it: without headers, and without what stands before `@` in the URL.
    pub(super) fn planned(&self, values: &Values) -> Result<Planned, String> {
        let mut url = self.url(values)?;
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err("its URL cannot be shown".into());
        }
        let body = match &self.body {
            Body::None => None,
            Body::Text(text) => Some(text.plain(values)),
            Body::Json(json) => Some(json.render(values).to_string()),
        };
        let writes = self.method != Method::GET && self.method != Method::HEAD;
        Ok(Planned { call: format!("{} {url}", self.method), body, writes })
    }

    /// Whether the answer is a success, as configured.
    pub(super) fn accepts(&self, answer: &Answer) -> bool {
        let status = if self.expect_status.is_empty() { answer.is_success() } else { self.expect_status.contains(&answer.status) };
        status && self.expect_body.as_ref().is_none_or(|regex| regex.is_match(&String::from_utf8_lossy(&answer.body)))
    }

    /// What a success looks like, for people.
    pub(super) fn expected(&self) -> String {
        let status = match self.expect_status.as_slice() {
            [] => "HTTP 200 to 299".to_owned(),
            list => format!("HTTP {}", list.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
        };
        match &self.expect_body {
            Some(regex) => format!("{status} and a body with `{}`", regex.as_str()),
            None => status,
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.url.names().collect();
        match &self.body {
            Body::None => {}
            Body::Json(json) => names.extend(json.names()),
            Body::Text(text) => names.extend(text.names()),
        }
        names
    }
}

/// How to see whether it is done.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) call: Call,
    equals: Option<(String, JsonTemplate)>,
}

impl Probe {
    /// What an answer tells. A status that is neither expected nor 404 tells nothing; `pending` turns "not there" into "not yet".
    pub(super) fn told(&self, answer: &Answer, values: &Values, doing: String, pending: bool, redactor: &Redactor) -> Outcome {
        let missing = |detail: String| match pending {
            true => Outcome::Unknown(Fault::new(FaultCode::Conflict, doing.clone(), format!("not yet: {detail}"))),
            false => Outcome::NotDone(Fault::new(FaultCode::Failed, doing.clone(), detail)),
        };
        if !self.call.accepts(answer) {
            let detail = format!("{}; expected {}", answer.shown(redactor), self.call.expected());
            return if matches!(answer.status, 404 | 410) || answer.is_success() {
                missing(detail)
            } else {
                Outcome::Unknown(Fault::new(FaultCode::Failed, doing, detail))
            };
        }
        let done = |observed: String| Outcome::Done(Receipt { observed, ..Receipt::default() });
        let Some((pointer, wanted)) = &self.equals else { return done(format!("probe: HTTP {}", answer.status)) };
        let wanted = wanted.render(values);
        match answer.json() {
            None => {
                let detail = format!("{}; expected a JSON body", answer.shown(redactor));
                Outcome::Unknown(Fault::new(FaultCode::Malformed, doing, detail))
            }
            Some(body) => match body.pointer(pointer) {
                Some(seen) if same(seen, &wanted) => done(format!("probe: HTTP {}, `{pointer}` is {wanted}", answer.status)),
                seen => {
                    let seen = redactor.clean_head(&seen.map_or("absent".to_owned(), Value::to_string), 200);
                    missing(format!("`{pointer}` is {seen}, expected {wanted}"))
                }
            },
        }
    }
}

/// Equality in which 3 and 3.0 are the same number.
fn same(seen: &Value, wanted: &Value) -> bool {
    seen == wanted || matches!((seen.as_f64(), wanted.as_f64()), (Some(a), Some(b)) if a == b)
}

/// Checks and compiles one verb; every problem is listed.
pub(super) fn compile(name: &str, config: &RequestConfig) -> Result<Configured, Vec<String>> {
    let mut problems = Vec::new();
    if !is_verb_part(name) {
        problems.push(format!("`{name}` is not a name: expected letters, digits, `-` and `_`, at most 64"));
    }
    if config.doc.trim().is_empty() {
        problems.push("`doc` is empty; say what it does".into());
    }
    if config.timeout <= Span::ZERO || config.timeout > TIMEOUT_MAX {
        problems.push(format!("`timeout` is {}, expected more than 0s and at most {TIMEOUT_MAX}", config.timeout));
    }
    if !(1..=ATTEMPTS_MAX).contains(&config.attempts) {
        problems.push(format!("`attempts` is {}, expected 1 to {ATTEMPTS_MAX}", config.attempts));
    }
    let args = Declarations::compile(&config.args).map_err(|more| problems.extend(more)).ok();
    let send = compile_call("send", &config.send, config.idempotent, args.as_ref(), &mut problems);
    let revert = config.revert.as_ref().map(|call| compile_call("revert", call, None, args.as_ref(), &mut problems));
    let probe = config.probe.as_ref().map(|probe| compile_probe(probe, args.as_ref(), &mut problems));
    let (Some(args), Some(send), true) = (args, send, problems.is_empty()) else { return Err(problems) };
    let spec = VerbSpec {
        verb: format!("http.{name}").into(),
        class: config.class,
        args: args.specs(),
        target_kinds: config.target_kinds.clone(),
        targets: None,
        opposite: config.opposite.clone().map(Verb::from),
        settle: config.settle,
        timeout: config.timeout,
        revertible: config.revert.is_some(),
        cost: Default::default(),
        doc: config.doc.clone(),
    };
    let (attempts, backoff) = (config.attempts, config.backoff.to_std());
    Ok(Configured { spec, args, send, probe: probe.flatten(), revert: revert.flatten(), attempts, backoff })
}

fn compile_call(
    whence: &str,
    config: &CallConfig,
    idempotent: Option<bool>,
    args: Option<&Declarations>,
    problems: &mut Vec<String>,
) -> Option<Call> {
    let before = problems.len();
    let mut keep = |result: Result<(), String>| problems.extend(result.err().map(|problem| format!("`{whence}`: {problem}")));
    let method = Method::from_bytes(config.method.as_bytes()).ok().filter(|_| config.method.bytes().all(|b| b.is_ascii_uppercase()));
    if method.is_none() {
        keep(Err(format!("`{}` is not a method: expected capital letters such as `POST`", config.method)));
    }
    keep(check_authority(&config.url));
    let url = Template::parse(&config.url).map_err(|problem| keep(Err(format!("`url`: {problem}")))).ok();
    for name in config.headers.keys() {
        if HeaderName::try_from(name.as_str()).is_err() {
            keep(Err(format!("`{name}` is not a header's name")));
        }
    }
    let body = match (&config.json, &config.text) {
        (None, None) => Ok(Body::None),
        (Some(json), None) => JsonTemplate::parse(json).map(Body::Json),
        (None, Some(text)) => Template::parse(text).map(Body::Text),
        (Some(_), Some(_)) => Err("both `json` and `text` are given: expected one".into()),
    };
    let body = body.map_err(|problem| keep(Err(problem))).ok();
    let expect_body = config.expect_body.as_ref().map(|text| Regex::new(text));
    if let Some(Err(error)) = &expect_body {
        keep(Err(format!("`expect_body` is not a regular expression: {error}")));
    }
    for status in &config.expect_status {
        if !(200..600).contains(status) {
            keep(Err(format!("`expect_status` holds {status}, expected 200 to 599")));
        }
    }
    if problems.len() > before {
        return None;
    }
    let (method, url, body) = (method?, url?, body?);
    let idempotent = idempotent.unwrap_or(matches!(config.method.as_str(), "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS"));
    let expect_body = expect_body.and_then(Result::ok);
    let call =
        Call { method, url, headers: config.headers.clone(), body, expect_status: config.expect_status.clone(), expect_body, idempotent };
    if let Some(args) = args {
        problems.extend(args.check_names(call.names(), &format!("`{whence}`")));
    }
    let sample: Values = call.names().into_iter().map(|name| (name.to_owned(), Arg::from("x"))).collect();
    problems.extend(call.url(&sample).err().map(|problem| format!("`{whence}`: {problem}")));
    Some(call)
}

fn compile_probe(config: &ProbeConfig, args: Option<&Declarations>, problems: &mut Vec<String>) -> Option<Probe> {
    let get = CallConfig {
        method: "GET".into(),
        url: config.url.clone(),
        headers: config.headers.clone(),
        json: None,
        text: None,
        expect_status: config.expect_status.clone(),
        expect_body: None,
    };
    let call = compile_call("probe", &get, None, args, problems);
    let equals = match (&config.expect_json_pointer, &config.equals) {
        (None, None) => None,
        (Some(pointer), Some(value)) => match JsonTemplate::parse(value) {
            Ok(_) if !pointer.is_empty() && !pointer.starts_with('/') => {
                problems.push(format!("`probe`: `{pointer}` is not a JSON pointer: expected `/a/b`"));
                None
            }
            Ok(template) => {
                problems.extend(args.map(|args| args.check_names(template.names(), "`probe.equals`")).unwrap_or_default());
                Some((pointer.clone(), template))
            }
            Err(problem) => {
                problems.push(format!("`probe.equals`: {problem}"));
                None
            }
        },
        _ => {
            problems.push("`probe` needs both `expect_json_pointer` and `equals`, or neither".into());
            None
        }
    };
    Some(Probe { call: call?, equals })
}

/// Scheme, host and port must stand there as they are, without credentials.
fn check_authority(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else { return Err(format!("`{url}` does not begin with `http://` or `https://`")) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.contains(['{', '}']) {
        return Err(format!("`{url}` has a place in its host: places may stand in path and query only"));
    }
    if authority.contains('@') {
        return Err("the URL holds credentials: use a header".into());
    }
    if url.contains('#') || url.contains('\\') {
        return Err(format!("`{url}` holds `#` or `\\`"));
    }
    Url::parse(&url[..url.len() - rest.len() + authority.len()]).map(drop).map_err(|error| format!("`{url}` is not a URL: {error}"))
}
