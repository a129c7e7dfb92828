//! The book against a naive reference, and each refusal by name.

use super::*;
use proptest::prelude::*;

fn random(seed: u8) -> [[u8; TOKEN_BYTES]; 3] {
    [0u8, 1, 2].map(|which| {
        let mut bytes = [seed; TOKEN_BYTES];
        bytes[0] = which;
        bytes
    })
}

fn chat(name: &str) -> Way {
    Way::Chat { channel: "telegram:family".into(), chat: name.into() }
}

const NOON: Time = Time(43_200_000);
const LATER: Time = Time(46_800_000);

fn book() -> (Book, Keys, Keys) {
    let mut book = Book::new(3);
    assert_eq!(book.open(ActionId(1), "plan", LATER), Ok(true));
    let telegram = book.issue(ActionId(1), "telegram:family", &chat("-1"), random(1)).unwrap();
    let ntfy = book.issue(ActionId(1), "ntfy:phone", &Way::Link, random(2)).unwrap();
    (book, telegram, ntfy)
}

#[test]
fn the_first_answer_wins_over_all_ways() {
    let (mut book, telegram, ntfy) = book();
    let yes = telegram.of(Answer::Yes).expose();
    let looked = book.look(NOON, yes, &chat("-1")).unwrap();
    assert_eq!((looked.answer, looked.plan.as_str(), looked.label.as_str()), (Answer::Yes, "plan", "telegram:family"));
    assert_eq!(book.take(NOON, yes, &chat("-1"), Some("telegram:4711")).unwrap(), looked);
    let faster = Refusal::Answered { by: "telegram:4711".into() };
    assert_eq!(book.take(NOON, yes, &chat("-1"), Some("telegram:4711")), Err(faster.clone()), "replayed");
    assert_eq!(book.take(NOON, telegram.of(Answer::No).expose(), &chat("-1"), None), Err(faster.clone()));
    assert_eq!(book.take(NOON, ntfy.of(Answer::No).expose(), &Way::Link, None), Err(faster));
    book.close(ActionId(1), "approved by telegram:4711");
    assert_eq!(book.take(NOON, yes, &chat("-1"), None), Err(Refusal::Over { how: "approved by telegram:4711".into() }), "replayed later");
    assert_eq!((book.counts().taken, book.counts().refused["answered"], book.counts().refused["over"]), (1, 3, 1));
}

#[test]
fn what_is_forged_late_or_elsewhere_is_refused() {
    let (mut book, telegram, ntfy) = book();
    for forged in ["", "x", &"0".repeat(TOKEN_CHARS), &"f".repeat(100_000)] {
        assert_eq!(book.take(NOON, forged, &Way::Link, None), Err(Refusal::Unknown));
    }
    assert_eq!(book.take(NOON, telegram.of(Answer::Yes).expose(), &Way::Link, None), Err(Refusal::Elsewhere));
    assert_eq!(book.take(NOON, telegram.of(Answer::Yes).expose(), &chat("-2"), None), Err(Refusal::Elsewhere));
    assert_eq!(book.take(NOON, ntfy.of(Answer::Yes).expose(), &chat("-1"), None), Err(Refusal::Elsewhere));
    assert_eq!(book.take(LATER + homeostat_model::Span(1), ntfy.of(Answer::Yes).expose(), &Way::Link, None), Err(Refusal::Late));
    assert!(book.take(LATER, &ntfy.of(Answer::Yes).expose().to_uppercase(), &Way::Link, None).is_ok(), "at the last moment");
}

#[test]
fn another_plan_and_a_new_message_kill_the_old_tokens() {
    let (mut book, telegram, _) = book();
    let again = book.issue(ActionId(1), "telegram:family", &chat("-1"), random(3)).unwrap();
    let over = |error: Refusal| matches!(error, Refusal::Over { .. });
    assert!(over(book.take(NOON, telegram.of(Answer::Yes).expose(), &chat("-1"), None).unwrap_err()));
    assert_eq!(book.open(ActionId(1), "another plan", LATER), Ok(true));
    assert!(over(book.take(NOON, again.of(Answer::Yes).expose(), &chat("-1"), None).unwrap_err()));
    assert!(book.issue(ActionId(9), "ntfy:phone", &Way::Link, random(4)).is_none());
}

#[test]
fn what_was_not_taken_in_may_be_pressed_again_and_what_is_held_is_asked_again() {
    let (mut book, telegram, ntfy) = book();
    let yes = telegram.of(Answer::Yes).expose();
    let taken = book.take(NOON, yes, &chat("-1"), Some("telegram:4711")).unwrap();
    assert_eq!(book.answered_by(ActionId(1)), Some("telegram:4711"));
    book.put_back(&taken);
    assert_eq!(book.take(NOON, yes, &chat("-1"), Some("telegram:4711")).unwrap(), taken);
    book.hold(&taken, &chat("-1"), "held by lock");
    assert!(matches!(book.take(NOON, yes, &chat("-1"), None), Err(Refusal::Over { .. })), "the used one stays used");
    assert!(book.take(NOON, ntfy.of(Answer::No).expose(), &Way::Link, None).is_ok(), "the question is open");
}

#[test]
fn limits_are_kept_and_seen() {
    let mut book = Book::new(2);
    assert_eq!(book.open(ActionId(1), "p", LATER), Ok(true));
    assert_eq!(book.open(ActionId(2), "p", LATER), Ok(true));
    assert_eq!(book.open(ActionId(2), "p", LATER), Ok(false));
    assert_eq!(book.open(ActionId(3), "p", LATER), Err(Full { questions_max: 2 }));
    assert_eq!((book.counts().opened, book.counts().full), (2, 1));
    for seed in 0..u8::MAX {
        for _ in 0..3 {
            book.issue(ActionId(1), "ntfy:phone", &Way::Link, random(seed));
        }
    }
    assert!(book.ended.len() <= ENDED_MAX && book.tokens.len() == 3);
    let shown = format!("{:?}", book.issue(ActionId(1), "ntfy:phone", &Way::Link, [[0xab; TOKEN_BYTES]; 3]));
    assert!(!shown.contains("abab"), "{shown}");
}

/// What may happen to a book.
#[derive(Clone, Debug)]
enum Step {
    Open { action: u64, plan: u8, until: i64 },
    Issue { action: u64, way: u8 },
    Take { which: usize, way: u8, flip: bool, at: i64 },
    Close { action: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..4u64, 0..2u8, 0..100i64).prop_map(|(action, plan, until)| Step::Open { action, plan, until }),
        2 => (0..4u64, 0..3u8).prop_map(|(action, way)| Step::Issue { action, way }),
        4 => (0..60usize, 0..3u8, any::<bool>(), 0..100i64).prop_map(|(which, way, flip, at)| Step::Take { which, way, flip, at }),
        1 => (0..4u64).prop_map(|action| Step::Close { action }),
    ]
}

fn way(number: u8) -> Way {
    if number == 0 { Way::Link } else { chat(&number.to_string()) }
}

/// A token as the reference remembers it.
struct Known {
    text: String,
    action: u64,
    plan: u8,
    way: u8,
    answer: Answer,
    opening: usize,
    alive: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn a_token_counts_once_in_time_for_its_plan_over_its_way(steps in prop::collection::vec(step(), 1..80)) {
        let mut book = Book::new(3);
        // What is open: plan, end, which opening, whether answered.
        let mut open: BTreeMap<u64, (u8, i64, usize, bool)> = BTreeMap::new();
        let (mut known, mut openings, mut seed): (Vec<Known>, usize, u32) = (Vec::new(), 0, 0);
        for step in steps {
            match step {
                Step::Open { action, plan, until } => {
                    let same = open.get(&action).is_some_and(|found| found.0 == plan);
                    if !same && open.contains_key(&action) {
                        open.remove(&action);
                    }
                    let result = book.open(ActionId(action), &plan.to_string(), Time(until));
                    if same {
                        open.get_mut(&action).unwrap().1 = until;
                        prop_assert_eq!(result, Ok(false));
                    } else if open.len() == 3 {
                        prop_assert_eq!(result, Err(Full { questions_max: 3 }));
                    } else {
                        openings += 1;
                        open.insert(action, (plan, until, openings, false));
                        prop_assert_eq!(result, Ok(true));
                    }
                }
                Step::Issue { action, way: number } => {
                    seed += 1;
                    let mut bytes = random(0);
                    bytes.iter_mut().for_each(|bytes| bytes[1..5].copy_from_slice(&seed.to_be_bytes()));
                    let keys = book.issue(ActionId(action), "x:y", &way(number), bytes);
                    prop_assert_eq!(keys.is_some(), open.contains_key(&action));
                    let Some(keys) = keys else { continue };
                    let (plan, _, opening, _) = open[&action];
                    known.iter_mut().filter(|k| k.action == action && k.way == number).for_each(|k| k.alive = false);
                    for answer in Answer::ALL {
                        let text = keys.of(answer).expose().to_owned();
                        known.push(Known { text, action, plan, way: number, answer, opening, alive: true });
                    }
                }
                Step::Take { which, way: number, flip, at } => {
                    let Some(token) = known.get(which) else { continue };
                    let mut text = token.text.clone();
                    if flip {
                        let last = if text.ends_with('0') { '1' } else { '0' };
                        text.pop();
                        text.push(last);
                    }
                    let counts = !flip && token.alive && token.way == number
                        && open.get(&token.action).is_some_and(|found| found.2 == token.opening && found.1 >= at && !found.3);
                    prop_assert_eq!(book.look(Time(at), &text, &way(number)).is_ok(), counts);
                    let result = book.take(Time(at), &text, &way(number), Some("p"));
                    prop_assert_eq!(result.is_ok(), counts, "{:?}", result);
                    if let Ok(taken) = result {
                        prop_assert_eq!((taken.action, taken.plan, taken.answer), (ActionId(token.action), token.plan.to_string(), token.answer));
                        open.get_mut(&token.action).unwrap().3 = true;
                    }
                }
                Step::Close { action } => {
                    book.close(ActionId(action), "closed");
                    open.remove(&action);
                }
            }
            prop_assert!(book.actions().count() <= 3);
        }
    }
}
