//! The chain, against reasoners that count how often they are asked and what with.

use super::*;
use crate::Canned;
use crate::tests::far_end::question;
use homeostat_model::BoxFuture;
use proptest::prelude::*;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

const GOOD: &str = r#"{"action":"wake","target":2}"#;

fn spec(id: &str, place: Place) -> ReasonerSpec {
    ReasonerSpec { id: id.into(), kind: "canned".into(), model: format!("model of {id}"), place, node: None }
}

fn fails(class: ReasonFaultClass) -> Result<String, ReasonFault> {
    Err(ReasonFault { requests: 1, ..ReasonFault::new(class, "as told") })
}

/// A member that answers by a function, and how often it was asked.
fn member(
    spec: ReasonerSpec,
    script: impl Fn(&Question) -> Result<String, ReasonFault> + Send + Sync + 'static,
) -> (Member, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let canned = Canned::new(spec, move |question| {
        counted.fetch_add(1, Ordering::SeqCst);
        script(question)
    });
    (Member { reasoner: Arc::new(canned), price: Price::default(), only_for: None }, asked)
}

fn good(spec: ReasonerSpec) -> (Member, Arc<AtomicUsize>) {
    member(spec, |_| Ok(GOOD.into()))
}

fn settings() -> ChainSettings {
    ChainSettings { cloud_for: QuestionPurpose::ALL.into(), questions_max: 4, ..ChainSettings::default() }
}

fn no_cache() -> ChainSettings {
    ChainSettings { cache: CacheConfig { entries_max: 0, ..CacheConfig::default() }, ..settings() }
}

async fn ask(chain: &Chain, now: i64, question: &Question) -> Result<Answered, Unanswered> {
    chain.ask(&move || Time(now), Asking { local: question, cloud: Some(question), asleep: &BTreeSet::new() }).await
}

fn classes(left_out: &[LeftOut]) -> Vec<(&str, &str)> {
    left_out.iter().map(|one| (one.reasoner.as_str(), one.fault.class.name())).collect()
}

fn count(asked: &AtomicUsize) -> usize {
    asked.load(Ordering::SeqCst)
}

#[tokio::test]
async fn local_comes_first_and_a_cloud_only_hears_what_is_redacted_and_allowed() {
    let (cloud, cloud_asked) = member(spec("cloud", Place::Cloud), |question| {
        assert!(!question.input.contains("nas.lan"), "a cloud was told a name");
        Ok(GOOD.into())
    });
    let (local, local_asked) = good(spec("local", Place::Local));
    let plain = Question { input: r#"{"host":"nas.lan"}"#.into(), ..question() };
    let redacted = Question { input: r#"{"host":"host-1"}"#.into(), ..question() };
    let asleep = BTreeSet::new();
    let clock = || Time(0);
    let both = Chain::new(vec![cloud.clone(), local], settings()).unwrap();
    assert_eq!(both.specs().iter().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), ["local", "cloud"]);
    let answered = both.ask(&clock, Asking { local: &plain, cloud: Some(&redacted), asleep: &asleep }).await.unwrap();
    assert_eq!((answered.reasoner.as_str(), answered.place, count(&local_asked), count(&cloud_asked)), ("local", Place::Local, 1, 0));

    let alone = Chain::new(vec![cloud.clone()], settings()).unwrap();
    let unredacted = alone.ask(&clock, Asking { local: &plain, cloud: None, asleep: &asleep }).await.unwrap_err();
    assert_eq!(classes(&unredacted.left_out), [("cloud", "not_allowed")]);
    let other = Question { purpose: QuestionPurpose::Prose, ..redacted.clone() };
    assert!(alone.ask(&clock, Asking { local: &plain, cloud: Some(&other), asleep: &asleep }).await.is_err(), "not the same question");
    let answered = alone.ask(&clock, Asking { local: &plain, cloud: Some(&redacted), asleep: &asleep }).await.unwrap();
    assert_eq!((answered.place, count(&cloud_asked)), (Place::Cloud, 1));
    let forbidden = Chain::new(vec![cloud], ChainSettings { cloud_for: [QuestionPurpose::Research].into(), ..settings() }).unwrap();
    let said = forbidden.ask(&clock, Asking { local: &plain, cloud: Some(&redacted), asleep: &asleep }).await.unwrap_err();
    assert!(said.to_string().contains("`cloud_for` does not list `ask`") && count(&cloud_asked) == 1, "{said}");
}

#[tokio::test]
async fn a_sleeping_node_is_named_and_the_next_is_asked() {
    let muscle = ReasonerSpec { node: Some("node/muscle".into()), ..spec("muscle", Place::Local) };
    let (muscle, muscle_asked) = good(muscle);
    let chain = Chain::new(vec![muscle.clone()], no_cache()).unwrap();
    let question = question();
    let asleep = BTreeSet::from(["node/muscle".into()]);
    let clock = || Time(0);
    let said = chain.ask(&clock, Asking { local: &question, cloud: None, asleep: &asleep }).await.unwrap_err();
    assert_eq!((said.node(), count(&muscle_asked)), (Some(&"node/muscle".into()), 0));
    assert_eq!(classes(&said.left_out), [("muscle", "unreachable")]);
    let chain = Chain::new(vec![muscle, good(spec("cloud", Place::Cloud)).0], no_cache()).unwrap();
    let answered = chain.ask(&clock, Asking { local: &question, cloud: Some(&question), asleep: &asleep }).await.unwrap();
    assert_eq!((answered.reasoner.as_str(), answered.left_out[0].fault.node.as_ref()), ("cloud", Some(&"node/muscle".into())));
    let awake = chain.ask(&clock, Asking { local: &question, cloud: Some(&question), asleep: &BTreeSet::new() }).await.unwrap();
    assert_eq!((awake.reasoner.as_str(), count(&muscle_asked)), ("muscle", 1));
}

#[tokio::test]
async fn a_models_word_ends_the_search_and_a_services_fault_does_not() {
    use ReasonFaultClass as C;
    for (class, next) in [
        (C::Refused, false),
        (C::Truncated, false),
        (C::Malformed, false),
        (C::Unauthorised, true),
        (C::RateLimited { retry_after: None }, true),
        (C::Overloaded { retry_after: None }, true),
        (C::Unreachable, true),
        (C::TimedOut, true),
        (C::BadRequest, true),
        (C::NoBudget, true),
        (C::NotAllowed, true),
    ] {
        let (first, _) = member(spec("first", Place::Local), move |_| fails(class));
        let (second, asked) = good(spec("second", Place::Local));
        let chain = Chain::new(vec![first, second], settings()).unwrap();
        let result = ask(&chain, 0, &question()).await;
        assert_eq!((result.is_ok(), count(&asked)), (next, usize::from(next)), "{class:?}");
        let left_out = result.map_or_else(|said| said.left_out, |answered| answered.left_out);
        assert_eq!(classes(&left_out), [("first", class.name())]);
        assert_eq!(chain.counts()["first"].faults[class.name()], 1);
    }
}

#[tokio::test]
async fn the_same_question_is_not_paid_twice() {
    let (mut local, asked) = good(spec("local", Place::Local));
    local.price = Price { euros_per_million_input_tokens: 1e6, ..Price::default() }; // a euro for each token read
    let cache = CacheConfig { entries_max: 8, age_max: Span::from_secs(60) };
    let chain = Chain::new(vec![local], ChainSettings { cache, ..settings() }).unwrap();
    let first = ask(&chain, 0, &question()).await.unwrap();
    let spent = chain.spent();
    let second = ask(&chain, 60_000, &question()).await.unwrap();
    assert!(!first.cached && second.cached && second.answer.json == first.answer.json);
    assert_eq!((second.answer.usage, second.answer.requests, chain.spent(), count(&asked)), (TokenUsage::default(), 0, spent, 1));
    assert_eq!(first.answer.cost_euros, Some(first.answer.usage.input_tokens as f64));
    assert_eq!(spent.in_month.euros(), first.answer.usage.input_tokens as f64);
    assert!(!ask(&chain, 60_001, &question()).await.unwrap().cached, "too old");
    let other = Question { input: "[]".into(), ..question() };
    assert!(!ask(&chain, 60_001, &other).await.unwrap().cached);
    let counts = &chain.counts()["local"];
    assert_eq!((counts.answers, counts.cached, counts.requests), (3, 1, 3));
}

#[tokio::test]
async fn who_fails_is_left_alone_and_tried_again() {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = broken.clone();
    let (local, asked) = member(spec("local", Place::Local), move |_| {
        if state.load(Ordering::SeqCst) { fails(ReasonFaultClass::Overloaded { retry_after: None }) } else { Ok(GOOD.into()) }
    });
    let breaker = BreakerConfig { failures: 2, open_for: Span::from_secs(60) };
    let chain = Chain::new(vec![local], ChainSettings { breaker, ..no_cache() }).unwrap();
    for (at, class) in [
        (0, "overloaded"),
        (1, "overloaded"),
        (2, "circuit_open"),
        (60_000, "circuit_open"),
        (60_001, "overloaded"),
        (60_002, "circuit_open"),
    ] {
        assert_eq!(classes(&ask(&chain, at, &question()).await.unwrap_err().left_out), [("local", class)], "{at}");
    }
    assert_eq!(count(&asked), 3);
    broken.store(false, Ordering::SeqCst);
    for at in [120_001, 120_002] {
        ask(&chain, at, &question()).await.unwrap();
    }
    let wrong = Question { schema: "{}".into(), ..question() };
    for _ in 0..5 {
        assert_eq!(
            classes(&ask(&chain, 120_003, &wrong).await.unwrap_err().left_out),
            [("local", "bad_request")],
            "its own fault, not the service's"
        );
    }
}

/// A trial that is not made, or that nobody waits for, leaves room for the next.
#[tokio::test]
async fn a_trial_without_an_end_is_made_again() {
    let breaker = BreakerConfig { failures: 1, open_for: Span::from_secs(60) };
    let (failing, _) = member(spec("local", Place::Local), |_| fails(ReasonFaultClass::Overloaded { retry_after: None }));
    let bound = failing.reasoner.bound(&question()).total();
    let budget = BudgetConfig { tokens_per_hour: Some(bound), ..BudgetConfig::default() };
    let chain = Chain::new(vec![failing], ChainSettings { breaker, budget, ..no_cache() }).unwrap();
    let long = Question { tokens_max: 1_000_000, ..question() };
    for (at, asked, class) in [
        (0, question(), "overloaded"),
        (60_000, long.clone(), "no_budget"),
        (60_001, long, "no_budget"),
        (60_002, question(), "overloaded"),
        (60_003, question(), "circuit_open"),
    ] {
        assert_eq!(classes(&ask(&chain, at, &asked).await.unwrap_err().left_out), [("local", class)], "{at}");
    }

    let hangs = Member {
        reasoner: Arc::new(HangsAfter(spec("hangs", Place::Local), AtomicUsize::new(0))),
        price: Price::default(),
        only_for: None,
    };
    let chain = Chain::new(vec![hangs], ChainSettings { breaker, ..no_cache() }).unwrap();
    let question = question();
    ask(&chain, 0, &question).await.unwrap_err();
    let mut trial = Box::pin(ask(&chain, 60_000, &question));
    assert!(futures_poll(&mut trial).is_none());
    assert_eq!(classes(&ask(&chain, 60_000, &question).await.unwrap_err().left_out), [("hangs", "circuit_open")]);
    drop(trial);
    let mut trial = Box::pin(ask(&chain, 60_001, &question));
    assert!(futures_poll(&mut trial).is_none(), "it is tried again");
}

/// Fails once, then answers never.
struct HangsAfter(ReasonerSpec, AtomicUsize);

impl Reasoner for HangsAfter {
    fn spec(&self) -> ReasonerSpec {
        self.0.clone()
    }
    fn complete<'a>(&'a self, _question: &'a Question) -> BoxFuture<'a, Result<Answer, ReasonFault>> {
        match self.1.fetch_add(1, Ordering::SeqCst) {
            0 => Box::pin(async { Err(ReasonFault { requests: 1, ..ReasonFault::new(ReasonFaultClass::Unreachable, "x") }) }),
            _ => Box::pin(std::future::pending()),
        }
    }
}

/// Answers never; to be dropped.
struct Hangs(ReasonerSpec);

impl Reasoner for Hangs {
    fn spec(&self) -> ReasonerSpec {
        self.0.clone()
    }
    fn complete<'a>(&'a self, _question: &'a Question) -> BoxFuture<'a, Result<Answer, ReasonFault>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_dropped_question_stays_booked_and_blocks_nobody() {
    let hangs = || Member { reasoner: Arc::new(Hangs(spec("hangs", Place::Local))), price: Price::default(), only_for: None };
    let bound = hangs().reasoner.bound(&question()).total();
    let budget = BudgetConfig { tokens_per_hour: Some(bound * 2), ..BudgetConfig::default() };
    let chain = Chain::new(vec![hangs()], ChainSettings { budget, questions_max: 1, ..no_cache() }).unwrap();
    let question = question();
    for booked in [1, 2] {
        let mut asked = Box::pin(ask(&chain, 0, &question));
        assert!(futures_poll(&mut asked).is_none());
        assert_eq!(chain.spent().in_hour.tokens, bound * booked);
        let second = ask(&chain, 0, &question).await.unwrap_err();
        assert!(second.to_string().contains("1 questions are under way"), "{second}");
        drop(asked);
    }
    assert_eq!(chain.spent().in_hour.tokens, bound * 2, "what is not known to be free is paid");
    assert_eq!(classes(&ask(&chain, 0, &question).await.unwrap_err().left_out), [("hangs", "no_budget")]);
    let kept = serde_json::to_string(&chain.spent()).unwrap();
    let reborn = Chain::new(vec![hangs()], ChainSettings { budget, ..no_cache() }).unwrap();
    reborn.restore(serde_json::from_str(&kept).unwrap());
    assert_eq!(classes(&ask(&reborn, 1, &question).await.unwrap_err().left_out), [("hangs", "no_budget")], "a restart does not pay");
}

/// Polls once.
fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn the_second_has_the_time_that_the_first_left() {
    let now = Arc::new(AtomicI64::new(0));
    let slow = now.clone();
    let (first, _) = member(spec("first", Place::Local), move |_| {
        slow.fetch_add(15_000, Ordering::SeqCst);
        fails(ReasonFaultClass::TimedOut)
    });
    let (second, _) = member(spec("second", Place::Local), |question| {
        assert_eq!(question.timeout, Span::from_secs(5));
        fails(ReasonFaultClass::TimedOut)
    });
    let chain = Chain::new(vec![first, second], settings()).unwrap();
    let clock = || Time(now.load(Ordering::SeqCst));
    let question = question();
    let asking = Asking { local: &question, cloud: None, asleep: &BTreeSet::new() };
    assert_eq!(classes(&chain.ask(&clock, asking).await.unwrap_err().left_out), [("first", "timed_out"), ("second", "timed_out")]);
}

#[tokio::test]
async fn each_is_asked_for_its_purposes() {
    let (advises, _) = good(spec("advises", Place::Local));
    let (verifies, _) = good(spec("verifies", Place::Local));
    let advises = Member { only_for: Some([QuestionPurpose::Advice].into()), ..advises };
    let verifies = Member { only_for: Some([QuestionPurpose::Verify].into()), ..verifies };
    let chain = Chain::new(vec![advises, verifies], settings()).unwrap();
    for (purpose, name) in [(QuestionPurpose::Advice, "advises"), (QuestionPurpose::Verify, "verifies")] {
        let answered = ask(&chain, 0, &Question { purpose, ..question() }).await.unwrap();
        assert_eq!(answered.reasoner, name);
    }
    assert_eq!(ask(&chain, 0, &question()).await.unwrap_err().left_out.len(), 2);
}

#[tokio::test]
async fn a_configured_chain_keeps_to_its_configuration() {
    let answers = serde_json::json!([{ "answer": { "action": "none", "target": 1 } }]);
    let config: crate::ReasonersConfig = serde_json::from_value(serde_json::json!({
        "ask": [
            { "kind": "canned", "id": "far", "place": "cloud", "answers": answers },
            { "kind": "canned", "id": "first", "answers": answers },
            { "kind": "canned", "id": "second", "answers": answers },
        ],
        "only_for": { "first": ["advice"], "second": ["advice", "verify"] },
        "cloud_for": ["prose"], "budget": { "tokens_per_hour": 50_000 }, "cache": { "entries_max": 0 },
    }))
    .unwrap();
    let chain = config.build().unwrap();
    for (purpose, name) in [
        (QuestionPurpose::Advice, Some("first")),
        (QuestionPurpose::Verify, Some("second")),
        (QuestionPurpose::Prose, Some("far")),
        (QuestionPurpose::Research, None),
    ] {
        let answered = ask(&chain, 0, &Question { purpose, ..question() }).await.ok().map(|answered| answered.reasoner);
        assert_eq!(answered.as_deref(), name, "{purpose:?}");
    }
    let long = Question { purpose: QuestionPurpose::Advice, tokens_max: 60_000, ..question() };
    assert_eq!(ask(&chain, 0, &long).await.unwrap_err().left_out[0].fault.class, ReasonFaultClass::NoBudget);
}

#[test]
fn a_chain_that_would_not_hold_is_not_built() {
    let (cloud, _) = good(spec("a", Place::Cloud));
    let (same, _) = good(spec("a", Place::Local));
    let wrong = ChainSettings {
        budget: BudgetConfig { euros_per_month: Some(5.0), euros_per_hour: Some(-1.0), ..BudgetConfig::default() },
        breaker: BreakerConfig { failures: 0, open_for: Span::ZERO },
        cache: CacheConfig { entries_max: 1_000_000, age_max: Span::from_millis(-1) },
        questions_max: 0,
        ..settings()
    };
    let said = Chain::new(vec![cloud, same], wrong).unwrap_err();
    assert_eq!(said.len(), 8, "{said:?}");
    let config: crate::ReasonersConfig = serde_json::from_value(serde_json::json!({
        "ask": [{ "kind": "canned", "id": "demo", "answers": [] }, { "kind": "ollama", "id": "x", "model": "" }], "only_for": { "y": ["ask"] }
    }))
    .unwrap();
    let faults = config.build().unwrap_err();
    assert!(faults.len() == 2 && faults.iter().any(|fault| fault.detail.contains("`y`")), "{faults:?}");
    let whole: crate::ReasonersConfig = serde_json::from_value(serde_json::json!({
        "ask": [
            { "kind": "anthropic", "id": "cloud", "model": "m", "api_key": "${env:KEY}", "price": { "euros_per_million_input_tokens": 1.0 } },
            { "kind": "ollama", "id": "muscle", "url": "http://muscle.lan:11434", "model": "qwen3:8b", "node": "node/muscle" },
        ],
        "cloud_for": ["ask", "prose"], "budget": { "euros_per_month": 5.0, "tokens_per_hour": 200_000 },
    }))
    .unwrap();
    let chain = whole.build().unwrap();
    assert_eq!(chain.specs()[0].node, Some("node/muscle".into()));
    assert!(Chain::new(Vec::new(), settings()).is_ok());
}

proptest! {
    /// Whatever is asked, of whom, when, and however it ends: what was really used never passes a budget, as counted apart from the chain.
    #[test]
    fn no_sequence_of_questions_passes_the_budget(
        steps in prop::collection::vec((0i64..2_000_000, 0usize..3000, 1u32..5000, 0u8..6, 0u64..=100), 1..40),
        tokens_per_hour in 0u64..60_000,
        cents_per_month in 0u64..40,
    ) {
        let used = Arc::new(Mutex::new((TokenUsage::default(), 0u64)));
        let plan = Arc::new(Mutex::new((0u8, 0u64)));
        struct Paid(ReasonerSpec, Arc<Mutex<(TokenUsage, u64)>>, Arc<Mutex<(u8, u64)>>);
        impl Reasoner for Paid {
            fn spec(&self) -> ReasonerSpec {
                self.0.clone()
            }
            fn complete<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<Answer, ReasonFault>> {
                let (end, percent) = *self.2.lock().unwrap();
                let bound = self.bound(question);
                let part = |whole: u64| whole * percent / 100;
                let usage = TokenUsage { input_tokens: part(bound.input_tokens), output_tokens: part(bound.output_tokens), estimated: false };
                let mut used = self.1.lock().unwrap();
                used.0 = used.0.plus(usage);
                used.1 += if usage.total() > 0 { 2 } else { 0 };
                drop(used);
                let fault = |class| Err(ReasonFault { usage, requests: 2, ..ReasonFault::new(class, "x") });
                let answer = Answer {
                    json: GOOD.into(), usage, model: "m".into(), request_id: None, latency: Span::ZERO, cost_euros: None, citations: Vec::new(),
                    requests: 2, repaired: false,
                };
                let result = match end {
                    0 | 1 => Ok(answer),
                    2 => fault(ReasonFaultClass::Malformed),
                    3 => fault(ReasonFaultClass::TimedOut),
                    4 => return Box::pin(std::future::pending()),
                    _ => fault(ReasonFaultClass::Refused),
                };
                Box::pin(async { result })
            }
        }
        let price = Price { euros_per_million_input_tokens: 3.0, euros_per_million_output_tokens: 15.0, euros_per_request: 0.005 };
        let paid = Paid(spec("paid", Place::Cloud), used.clone(), plan.clone());
        let member = Member { reasoner: Arc::new(paid), price, only_for: None };
        let budget = BudgetConfig {
            tokens_per_hour: Some(tokens_per_hour), euros_per_month: Some(cents_per_month as f64 / 100.0), ..BudgetConfig::default()
        };
        let breaker = BreakerConfig { failures: 100, open_for: Span::from_millis(1) };
        let chain = Chain::new(vec![member], ChainSettings { budget, breaker, ..no_cache() }).unwrap();
        let (mut now, mut hours) = (1_000_000_000_000i64, BTreeMap::<i64, u64>::new());
        for (wait, bytes, tokens_max, end, percent) in steps {
            now += wait;
            *plan.lock().unwrap() = (end, percent);
            let asked = Question { input: format!("\"{}\"", "x".repeat(bytes)), tokens_max, ..question() };
            let before = used.lock().unwrap().0.total();
            let mut future = Box::pin(ask(&chain, now, &asked));
            let _ = futures_poll(&mut future);
            drop(future);
            *hours.entry(now.div_euclid(3_600_000)).or_default() += used.lock().unwrap().0.total() - before;
            prop_assert!(hours.values().all(|tokens| *tokens <= tokens_per_hour), "{:?} of {}", hours, tokens_per_hour);
            let (all, requests) = *used.lock().unwrap();
            // Less than a month passes: 40 steps of 2000 s at most.
            let really_euros = price.euros(all, requests);
            prop_assert!(really_euros <= cents_per_month as f64 / 100.0 + 1e-9, "{} euros", really_euros);
            prop_assert!(chain.spent().in_hour.tokens <= tokens_per_hour);
            prop_assert!(chain.spent().in_month.euros() <= cents_per_month as f64 / 100.0 + 1e-9);
        }
        prop_assert_eq!(chain.spent().tokens_over, 0);
    }
}
