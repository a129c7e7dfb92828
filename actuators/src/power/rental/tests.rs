//! The rule by numbers written out here, and the actuator's own answers beside what knowing the future would have cost.

use super::super::memory::Memory;
use super::super::node::Own;
use super::super::{Power, PowerConfig};
use super::*;
use crate::conformance::{action_with, ledger};
use homeostat_model::{Actuator, Arg, Args, FaultCode, Time};
use serde_json::json;

const NEVER: Span = Span(i64::MAX);
/// 90 s of boot at 120 W, 60 W awake, 2 W asleep.
const MUSCLE: Costs =
    Costs { boot_joules: 10_800.0, boot_seconds: 90.0, awake_watts: 60.0, asleep_watts: 2.0, wear_euros: 0.0, euros_per_kwh: 0.3 };

#[test]
fn the_break_even_of_the_muscle() {
    assert_eq!(MUSCLE.break_even(), Span::from_millis(183_104), "(10,800 − 180) ÷ 58");
    // Half-forgotten boot energy counts as an awake minute and a half at least.
    assert_eq!(Costs { boot_joules: 0.0, ..MUSCLE }.break_even(), Span::from_secs(90));
    assert_eq!(Costs { boot_joules: 0.0, boot_seconds: 0.0, ..MUSCLE }.break_even(), Span::ZERO);
    // A cent of wear per power cycle is 120 kJ at 0.30 €/kWh: 35 minutes more.
    let worn = Costs { wear_euros: 0.01, ..MUSCLE };
    assert_eq!(worn.break_even(), Span::from_millis(2_252_069));
    for odd in [
        Costs { awake_watts: 2.0, ..MUSCLE },
        Costs { asleep_watts: 70.0, ..MUSCLE },
        Costs { boot_joules: f64::NAN, ..MUSCLE },
        Costs { boot_joules: f64::MAX, ..MUSCLE },
        Costs { boot_joules: -1.0, ..MUSCLE },
        Costs { asleep_watts: -1.0, ..MUSCLE },
        Costs { euros_per_kwh: 0.0, ..worn },
    ] {
        assert_eq!(odd.break_even(), NEVER, "{odd:?}");
    }
    assert_eq!(Costs { euros_per_kwh: 0.0, ..MUSCLE }.break_even(), MUSCLE.break_even(), "no wear needs no price");
}

#[test]
fn three_measured_boots_replace_what_is_configured_and_a_slow_one_counts_at_once() {
    let measured = |boots, seconds, joules| MUSCLE.as_measured(&Measured { boots, time: Span::from_secs(seconds), joules });
    assert_eq!(measured(0, 0, None), (MUSCLE, false));
    assert_eq!(measured(2, 48, None), (MUSCLE, false));
    assert_eq!(measured(1, 100, None), (Costs { boot_joules: 11_400.0, boot_seconds: 100.0, ..MUSCLE }, true), "10 s more of 60 W");
    assert_eq!(measured(3, 48, None), (Costs { boot_joules: 8_280.0, boot_seconds: 48.0, ..MUSCLE }, true), "42 s less of 60 W");
    assert_eq!(measured(3, 48, Some(5_200.0)), (Costs { boot_joules: 5_200.0, boot_seconds: 48.0, ..MUSCLE }, true));
    let thrifty = Costs { boot_joules: 100.0, ..MUSCLE };
    assert_eq!(
        thrifty.as_measured(&Measured { boots: 3, time: Span::from_secs(1), joules: None }).0.boot_joules,
        0.0,
        "never below nothing"
    );
}

/// Numbers at random, the same in every run (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn number(&mut self, bound: u64) -> f64 {
        self.below(bound) as f64
    }

    /// A node of any kind; every third wears off by a cycle.
    fn costs(&mut self) -> Costs {
        let asleep_watts = self.number(20);
        let wear_euros = if self.below(3) == 0 { self.number(500) / 1e5 } else { 0.0 };
        let (boot_joules, boot_seconds) = (self.number(20_000), self.number(120));
        let awake_watts = asleep_watts + 1.0 + self.number(200);
        Costs { boot_joules, boot_seconds, awake_watts, asleep_watts, wear_euros, euros_per_kwh: 0.05 + self.number(40) / 100.0 }
    }

    /// The idle times of one trace, in whole seconds; the adversary's end right after the node fell asleep.
    fn idles(&mut self, kind: u64, asleep_after: Span) -> Vec<f64> {
        let cruel = if asleep_after < Span::from_hours(2) { asleep_after.seconds().ceil() + 1.0 } else { 1.0 };
        let alike = self.number(900);
        (0..1 + self.below(50))
            .map(|_| match kind {
                0 => self.number(600),
                1 => alike,
                2 => cruel,
                _ => [cruel, self.number(600)][self.below(2) as usize],
            })
            .collect()
    }
}

/// What one nap costs besides what is drawn asleep, written once more by hand.
fn extra(costs: &Costs) -> f64 {
    let boot = f64::max(costs.boot_joules, costs.awake_watts * costs.boot_seconds) - costs.asleep_watts * costs.boot_seconds;
    boot + costs.wear_euros / costs.euros_per_kwh * 3_600_000.0
}

/// What an idle time of so many seconds costs, in joules, with sleep from some second of it on.
fn joules(costs: &Costs, idle: f64, from: f64) -> f64 {
    if from >= idle { costs.awake_watts * idle } else { costs.awake_watts * from + costs.asleep_watts * (idle - from) + extra(costs) }
}

/// What it costs at least: every second of it is tried, and never.
fn tried(costs: &Costs, idle: f64) -> f64 {
    (0..=idle as u32).map(|from| joules(costs, idle, f64::from(from))).fold(f64::MAX, f64::min)
}

/// A node that costs so much, its boots measured or only configured, as the actuator takes it up at a start.
fn actuator(costs: &Costs, is_measured: bool) -> Power {
    let (_dir, ledger) = ledger();
    let (joules, seconds) = (costs.boot_joules, costs.boot_seconds as i64);
    if is_measured {
        for _ in 0..BOOTS_MIN {
            Memory::woken(&ledger, "muscle", Time(0), Span::from_secs(seconds), Some(joules));
        }
    }
    let (joules, seconds) = if is_measured { (1.0, 1) } else { (joules, seconds) };
    let node = json!({ "mac": "00:11:22:33:44:55", "probe": { "tcp": "muscle:22" }, "sleep": { "via": "ssh", "key_file": "/k" },
        "ssh": { "host": "muscle", "user": "homeostat", "known_hosts": "/h" },
        "boot_joules": joules, "boot_time": format!("{seconds}s"), "awake_watts": costs.awake_watts, "asleep_watts": costs.asleep_watts,
        "wear_euros_per_cycle": costs.wear_euros });
    let config: PowerConfig = serde_json::from_value(json!({ "nodes": { "muscle": node } })).unwrap();
    let config = PowerConfig { euros_per_kwh: costs.euros_per_kwh, ..config };
    Power::on_host(&config, ledger, &Own::default()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Whether the actuator lets the node sleep after so much idle time: its answer to the very action.
fn lets_sleep(power: &Power, idle_for: Span) -> bool {
    let idle_for = Args::from([("idle_for".to_owned(), Arg::from(format!("{}ms", idle_for.millis()).as_str()))]);
    match power.check(&action_with(1, "power.sleep", "node/muscle", idle_for)) {
        Ok(()) => true,
        Err(fault) => {
            assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
            false
        }
    }
}

/// The shortest idle time after which it does, found by asking; the longest span: not within a week.
fn asleep_after(power: &Power) -> Span {
    let (mut refused, mut let_through) = (-1, Span::from_hours(168).millis());
    if !lets_sleep(power, Span::from_millis(let_through)) {
        return NEVER;
    }
    while let_through - refused > 1 {
        let middle = refused + (let_through - refused) / 2;
        if lets_sleep(power, Span::from_millis(middle)) { let_through = middle } else { refused = middle }
    }
    Span::from_millis(let_through)
}

#[test]
fn what_the_actuator_allows_costs_at_most_twice_what_knowing_the_future_would() {
    let mut chance = Chance(6);
    let (mut worst, mut sums, mut naps) = (0.0_f64, [0.0; 4], 0);
    for trace in 0..1000 {
        let (costs, kind) = (chance.costs(), trace % 4);
        // Every second group of four has its boots measured.
        let after = asleep_after(&actuator(&costs, trace % 8 < 4));
        let idles = chance.idles(kind, after);
        let seconds = if after == NEVER { f64::INFINITY } else { after.seconds() };
        naps += idles.iter().filter(|idle| **idle > seconds).count();
        let online: f64 = idles.iter().map(|idle| joules(&costs, *idle, seconds)).sum();
        let offline: f64 = idles.iter().map(|idle| tried(&costs, *idle)).sum();
        // The threshold is whole milliseconds: up to one more of rent per idle time.
        let rounding = idles.len() as f64 * costs.awake_watts / 1000.0;
        assert!(online <= 2.0 * offline + rounding, "trace {trace}: {online} J against {offline} J with {costs:?}");
        let ratio = if offline > 0.0 { online / offline } else { 1.0 };
        worst = worst.max(ratio);
        sums[kind as usize] += ratio;
    }
    let [random, alike, cruel, mixed] = sums.map(|sum: f64| sum / 250.0);
    println!(
        "1,000 traces, {naps} naps, times the best: {worst:.4} at worst; in the mean {:.4} (at random {random:.4}, alike {alike:.4}, \
         adversary {cruel:.4}, adversary half the time {mixed:.4})",
        (random + alike + cruel + mixed) / 4.0
    );
    assert!(naps > 1000 && worst > 1.5, "the adversary was there: {naps} naps, {worst}");
}
