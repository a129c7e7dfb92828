//! The Nile's annual flow at Aswan, 1871 to 1970 (10^8 m³), against statsmodels: `scripts/its-reference.py` says how to make the figures
//! again; those below are of statsmodels 0.15.0. The first dam was begun in 1898, the flow is lower from 1899 on.
//!
//! Where the two differ, and why. (1) The level shift over the whole series looks at both sides of the change; the estimator forecasts
//! from the 28 years before alone, as it must. (2) It averages over "slope" and "no slope" (4 to 1 beforehand), so its effect lies near
//! or between the two regressions' (level alone, level and trend). (3) It does not take the memory for known: 28 values cannot rule out
//! a long one, so its interval holds that of "OLS, level and trend" and is up to 1.45 times as wide. Over 72 years both say what 28
//! years with an unknown trend can say about the next 72: zero is not excluded.

use super::*;

const FLOW: [f64; 100] = [
    1120., 1160., 963., 1210., 1160., 1160., 813., 1230., 1370., 1140., 995., 935., 1110., 994., 1020., 960., 1180., 799., 958., 1140.,
    1100., 1210., 1150., 1250., 1260., 1220., 1030., 1100., 774., 840., 874., 694., 940., 833., 701., 916., 692., 1020., 1050., 969., 831.,
    726., 456., 824., 702., 1120., 1100., 832., 764., 821., 768., 845., 864., 862., 698., 845., 744., 796., 1040., 759., 781., 865., 845.,
    944., 984., 897., 822., 1010., 771., 676., 649., 846., 812., 742., 801., 1040., 860., 874., 848., 890., 744., 749., 838., 1050., 918.,
    986., 797., 923., 975., 815., 1020., 906., 901., 1170., 912., 746., 919., 718., 714., 740.,
];

/// The level shift at 1899 over the whole series: OLS (HAC, 4 lags), GLSAR(1), SARIMAX(1,0,0): effect, low, high.
const LEVEL_SHIFT: [[f64; 3]; 3] = [[-247.8, -309.2, -186.4], [-248.0, -315.4, -180.6], [-261.4, -333.6, -189.2]];

/// Forecasts from 1871-1898 by OLS: years after, effect with a level alone, then with level and trend: effect, low, high.
const FORECASTS: [(f64, f64, [f64; 3]); 4] = [
    (8.0, -276.2, [-297.1, -461.1, -133.1]),
    (16.0, -276.5, [-302.0, -472.0, -132.0]),
    (32.0, -263.4, [-298.2, -509.2, -87.2]),
    (72.0, -247.8, [-305.8, -641.6, 30.1]),
];

/// 1898 is zero, a year is a "second".
fn after(years: f64) -> Estimate {
    let target: Vec<(f64, f64)> = FLOW.iter().enumerate().map(|(year, flow)| (year as f64 - 27.0, *flow)).collect();
    let found = estimate(&Question { from: 1.0, to: 1.0 + years, matters: 50.0, ..question(&target) }).unwrap();
    println!("{years:3} years: {:7.1} [{:7.1}, {:7.1}] {:?}", found.effect, found.low, found.high, found.finding);
    found
}

#[test]
fn the_whole_shift_agrees_with_three_regressions_within_a_tenth() {
    let found = after(72.0);
    assert_eq!((found.before, found.after), (28, 72));
    for [effect, low, high] in LEVEL_SHIFT {
        assert!((found.effect - effect).abs() <= 25.0, "{found:?} against {effect}");
        assert!(found.low < low && high < found.high);
    }
}

#[test]
fn forecasts_agree_with_regressions_on_the_same_years() {
    for (years, level, [effect, low, high]) in FORECASTS {
        let found = after(years);
        // Near or between the two regressions.
        assert!(found.effect >= effect - 15.0 && found.effect <= level + 15.0, "{years} years: {found:?}");
        // It holds the regression's interval and is not much wider.
        assert!(found.low <= low && high <= found.high && found.high - found.low <= 1.5 * (high - low), "{years} years: {found:?}");
        assert_eq!(found.finding == Finding::Helped, high < 0.0);
    }
}
