//! The same forecast for dates at which nothing was done: was it as good as it believed?
//!
//! At up to three dates before the sending, one judged time apart, the forecast is made from what came before that date, with the
//! likeliest memory. `z` = how many of its own deviations it was off. The interval is widened by `sqrt((ν0 + Σz²) / (ν0 + m))`: the
//! deviation's estimate with ν0 = 6 dates' worth of belief in the model, never narrower than the model's own.
//!
//! Deliberately absent: dates after which something was done; the caller's window may hold other actions, whose effects then widen the
//! interval, which is honest. An editor breaks this by letting a date see its own future.

use super::columns::{SERIES, Table};
use super::forecast::{Ahead, Filter, Fitted, matched};

/// Most dates.
const DATES_MAX: usize = 3;
/// A date has at least so many rows before it, and at least half of all rows.
const ROWS_MIN: usize = 16;
/// Belief in the model, in dates.
const BELIEF: f64 = 6.0;

/// What the dates said.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Checked {
    /// How many dates there were.
    pub(super) dates: u32,
    /// How much wider the interval becomes, 1 or more.
    pub(super) widened: f64,
}

/// Tries the dates. `WIDTH` is the table's ([`Table::width`]).
pub(super) fn check<const WIDTH: usize>(table: &Table, fitted: &Fitted) -> Checked {
    let past = table.past();
    let length = table.horizon.ceil() as usize;
    let judged = table.after_all;
    let skipped = length.saturating_sub(judged + 1);
    let mut filter = Filter::<1, WIDTH>::new(&[fitted.memory], table);
    let (mut dates, mut squares) = (0, 0.0);
    for (row, values) in past.iter().enumerate() {
        let left = past.len() - row;
        if row >= ROWS_MIN && row * 2 >= past.len() && left.is_multiple_of(length) && left / length <= DATES_MAX {
            let begin = row + skipped;
            let mut rows = past[begin..(begin + judged).min(past.len())].to_vec();
            if let Some(first) = rows.first_mut() {
                first.steps = past[row..=begin].iter().map(|row| row.steps).sum();
                let came = rows.iter().map(|row| row.values[SERIES]).sum::<f64>() / rows.len() as f64;
                let forecast = matched(&filter.forecast(0, &Ahead::new(&rows, table), table.floor));
                let off = (came - forecast.mean) / forecast.scale;
                if off.is_finite() {
                    dates += 1;
                    squares += off * off;
                }
            }
        }
        filter.take(values);
    }
    let widened = ((BELIEF + squares) / (BELIEF + f64::from(dates))).sqrt().max(1.0);
    Checked { dates, widened }
}
