//! No configured credential appears in any error, `Debug` text, answer or log line, whatever the other side does with it.

use super::far_end::{FarEnd, question};
use super::{KEY, faces};
use crate::config::ReasonerConfig;
use homeostat_model::Question;
use proptest::prelude::*;
use serde_json::json;
use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Once;
use tracing::field::{Field, Visit};
use tracing::span;

thread_local! {
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps every log line at every level, each thread's for itself. One for the process: with one for each case, callsites that another
/// thread's test meets first stay switched off.
struct Log;

/// What was logged by this thread since the last time.
fn logged() -> String {
    LOG.with(|log| std::mem::take(&mut *log.borrow_mut()))
}

fn keep(record: impl FnOnce(&mut Line<'_>)) {
    LOG.with(|log| record(&mut Line(&mut log.borrow_mut())));
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        keep(|line| attributes.record(line));
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        keep(|line| values.record(line));
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        keep(|line| event.record(line));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn no_credential_appears_anywhere(
        face in 0usize..6,
        secret in prop_oneof!["sk-[A-Za-z0-9]{8,24}", "k[!-~]{9,20}q", "[A-Za-z0-9]{6}\"\\\\[A-Za-z0-9]{8}", "ключ[a-z]{8}", "line[a-z]{6}\n[a-z]{6}"],
        status in prop_oneof![Just(200u16), Just(200), Just(400), Just(401), Just(429), Just(503)],
        echo in 0usize..6,
    ) {
        prop_assume!(!secret.contains("${")); // that is a reference, or none
        let face = &faces()[face];
        // A free text in the answer, in which a key can come back.
        let schema = question().schema.replace(r#""enum":["none","wake"]"#, r#""type":"string""#);
        let asked = Question { schema, ..question() };
        static LOGGING: Once = Once::new();
        LOGGING.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
        logged();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shown = runtime.block_on(async {
            let body = match echo {
                0 => (face.error)(&format!("bad key {secret} here")).to_string(),
                1 => secret.clone(),
                2 => (face.says)(&json!({ "action": secret, "target": 1 }).to_string()).to_string(),
                3 => (face.says)(&secret).to_string(),
                4 => format!("{{\"x\":\n{}", (face.error)(&secret)),
                _ => json!({ "id": secret, "model": secret, "done_reason": secret, "status": secret, "stop_reason": secret,
                    "choices": [{ "finish_reason": secret }] }).to_string(),
            };
            // An answer's header can hold what a header may hold.
            let id = secret.chars().filter(|c| c.is_ascii_graphic()).collect::<String>();
            let far = FarEnd::script(vec![(status, vec![("x-request-id", id), ("retry-after", "500".into())], body)]).await;
            let mut config = (face.config)(&far.url);
            assert_eq!(config["api_key"], KEY);
            config["api_key"] = json!(secret);
            let config: ReasonerConfig = serde_json::from_value(config).unwrap();
            let reasoner = config.build().unwrap();
            let result = reasoner.complete(&asked).await;
            let words = match &result {
                Ok(answer) => {
                    assert!(answer.json.contains("<secret>"), "{answer:?}");
                    serde_json::to_string(answer).unwrap()
                }
                Err(fault) => format!("{fault} {}", serde_json::to_string(fault).unwrap()),
            };
            format!("{config:?} {} {:?} {result:?} {words}", serde_json::to_string(&config).unwrap(), reasoner.spec())
        });
        let log = logged();
        prop_assert!(log.contains("purpose=\"ask\""), "the log was caught: {}", log);
        let escaped = serde_json::to_string(&secret).unwrap();
        for form in [secret.as_str(), escaped.trim_matches('"')] {
            prop_assert!(!shown.contains(form), "shown: {}", shown);
            prop_assert!(!log.contains(form), "log: {}", log);
        }
    }
}
