//! Symptoms that go by themselves: an action that did nothing must not be praised for them.

use super::worlds::Chance;
use super::*;

/// A symptom: the level jumps from 0 to 4 some minutes before the sending, and goes back at `healed` minutes after it.
fn symptom(healed: f64, chance: &mut Chance) -> Vec<(f64, f64)> {
    let began = -5.0 - 25.0 * chance.unit();
    let mut own = chance.normal();
    (-240..=32)
        .map(|minute| {
            own = 0.6 * own + 0.8 * chance.normal();
            let at = f64::from(minute);
            (60.0 * at, 0.5 * own + if at >= began && at < healed { 4.0 } else { 0.0 })
        })
        .collect()
}

/// What was found about many actions: shares of helped and harmed, and the mean effect.
fn tally(actions: u32, natural: Option<NaturalCourse>, healed: impl Fn(&mut Chance) -> f64) -> (f64, f64, f64) {
    let mut chance = Chance(17);
    let (mut helped, mut harmed, mut effect) = (0.0, 0.0, 0.0);
    for _ in 0..actions {
        let moment = healed(&mut chance);
        let target = symptom(moment, &mut chance);
        let found = estimate(&Question { natural, ..question(&target) }).unwrap();
        helped += f64::from(u8::from(found.finding == Finding::Helped));
        harmed += f64::from(u8::from(found.finding == Finding::Harmed));
        effect += found.effect;
    }
    (helped / f64::from(actions), harmed / f64::from(actions), effect / f64::from(actions))
}

/// The symptom goes by itself at a constant rate, four times of five by the end of the judged time (32 minutes).
fn by_itself(chance: &mut Chance) -> f64 {
    -(1.0 - chance.unit()).ln() * 32.0 / 5.0_f64.ln()
}

fn known(odds: f64) -> Option<NaturalCourse> {
    Some(NaturalCourse { odds, level: 0.0, lasting: 4.0, threshold: 2.0 })
}

#[test]
fn an_idle_action_is_not_praised_for_what_goes_by_itself() {
    let naive = tally(500, None, by_itself);
    let ours = tally(500, known(0.8), by_itself);
    println!("idle action, symptom goes by itself in 80 %: helped, harmed, mean effect");
    println!("  nothing known {naive:.3?}\n  odds known    {ours:.3?}");
    assert!(ours.0 <= 0.05 && ours.1 <= 0.05, "{ours:?}");
    // What is not known cannot be allowed for: this is what the natural course is for.
    assert!(naive.0 > 0.15, "{naive:?}");
    assert!(ours.2.abs() < 0.5 * naive.2.abs(), "{ours:?} {naive:?}");
}

#[test]
fn an_action_that_heals_what_never_heals_by_itself_is_praised() {
    let at_once = |chance: &mut Chance| 1.0 + chance.unit();
    let (rare, unknown, usual) = (tally(200, known(0.01), at_once), tally(200, None, at_once), tally(200, known(0.8), at_once));
    println!("action heals at once: helped, harmed, mean effect\n  odds .01 {rare:.3?}\n  unknown  {unknown:.3?}\n  odds .8  {usual:.3?}");
    assert!(rare.0 > 0.5 && rare.1 == 0.0, "{rare:?}");
    // Four of five heal anyhow: one healing shows nothing.
    assert!(usual.0 <= 0.05 && usual.1 == 0.0, "{usual:?}");
    assert!(usual.2 < -1.0, "it was still faster: {usual:?}");
}

#[test]
fn odds_that_the_forecast_already_holds_change_nothing() {
    let mut chance = Chance(2);
    let target: Vec<(f64, f64)> = (-240..=32).map(|minute| (60.0 * f64::from(minute), chance.normal())).collect();
    let plain = estimate(&question(&target)).unwrap();
    // White noise about zero is surely below five by itself; whatever the odds say, there is nothing to add.
    let natural = Some(NaturalCourse { odds: 0.9, level: -3.0, lasting: 0.0, threshold: 5.0 });
    let told = estimate(&Question { natural, ..question(&target) }).unwrap();
    assert_eq!(plain, told);
}

#[test]
fn a_job_at_the_same_hour_every_day_is_expected() {
    let mut chance = Chance(8);
    let target: Vec<(f64, f64)> = (-3200..=32)
        .map(|minute: i32| {
            // Two parts: one is over when the action is sent, one begins just after.
            let job = matches!(minute.rem_euclid(1440), 1..40 | 1340..1380);
            (60.0 * f64::from(minute), chance.normal() + if job { 6.0 } else { 0.0 })
        })
        .collect();
    let known = estimate(&question(&target)).unwrap();
    let recent = estimate(&question(&target[3200 - 240..])).unwrap();
    assert_eq!((known.days, recent.days, recent.finding), (2, 0, Finding::Harmed));
    assert!(known.effect.abs() < 2.0 && known.low < 0.0 && known.high > 0.0, "{known:?}");
}
