//! What the filter comes to without looking at the series, once for all series without holes before the sending.
//!
//! Gains, the innovations of intercept and slope, and their sums depend on the number of rows and of samples in each, on nothing else.
//! Claims that are due together mostly share both. What is left per series is its own innovations, a fifth of the work. Deliberately
//! absent: rows with holes; those take the long way ([`Filter::take`]). An editor breaks this by letting anything of a series into what
//! is kept: the same question would get other bits after other questions.

use super::{Filter, LANES, MEMORY, Memory, SLOPE_PRECISION};
use crate::score::effect::columns::{LEVEL, SERIES, SLOPE, Table};

/// Shapes that are kept; the oldest goes.
const SHAPES_MAX: usize = 4;
/// Where level and slope stand in the filter that goes without a series.
const BARE: [usize; 3] = [LEVEL, SLOPE, SERIES];

/// What is kept between estimates. An empty one comes to the same, later.
#[derive(Debug, Default)]
pub struct Workspace {
    shapes: Vec<Shape>,
}

/// All rows of one shape.
#[derive(Debug)]
pub(super) struct Shape {
    rows: usize,
    samples: f64,
    lanes: Vec<Lane>,
}

/// Some kinds of memory side by side, row by row.
#[derive(Debug)]
struct Lane {
    steps: Vec<Step>,
    end: Filter<LANES, 3>,
}

/// One row: what the filter does with any series there.
#[derive(Copy, Clone, Debug)]
struct Step {
    gain: [f64; LANES],
    inverse: [f64; LANES],
    /// Innovations of the intercept and of the slope, over their variance.
    level: [f64; LANES],
    slope: [f64; LANES],
}

impl Workspace {
    /// What is known of a table's shape; `None` where it has holes.
    pub(super) fn shape(&mut self, table: &Table) -> Option<&Shape> {
        if !table.is_whole {
            return None;
        }
        let same = |shape: &Shape| shape.rows == table.past().len() && shape.samples == table.samples;
        let place = self.shapes.iter().position(same).unwrap_or_else(|| {
            if self.shapes.len() >= SHAPES_MAX {
                self.shapes.remove(0);
            }
            self.shapes.push(Shape::of(table));
            self.shapes.len() - 1
        });
        self.shapes.get(place)
    }
}

impl Shape {
    fn of(table: &Table) -> Shape {
        let lanes = MEMORY.as_chunks::<LANES>().0.iter().map(|memories| Lane::of(memories, table)).collect();
        Shape { rows: table.past().len(), samples: table.samples, lanes }
    }

    /// The filter after all rows of a table of this shape, for the kinds of memory of this lane.
    #[allow(clippy::needless_range_loop, reason = "one index runs over several arrays side by side")]
    pub(super) fn filter<const WIDTH: usize>(&self, lane: usize, table: &Table) -> Filter<LANES, WIDTH> {
        let Lane { steps, end } = &self.lanes[lane];
        let (series, slope) = (WIDTH - 1, WIDTH - 2);
        let columns = table.columns::<WIDTH>();
        let none = [[0.0; LANES]; WIDTH];
        // Each sum by itself, so that the processor keeps them at hand: with the intercept, with the slope, and among each other.
        let (mut state, mut with_level, mut with_slope, mut among) = (none, none, none, [none; WIDTH]);
        for (row, step) in table.past().iter().zip(steps) {
            let mut innovation = none;
            for left in (1..WIDTH).filter(|column| *column != slope) {
                let value = row.values[columns[left]];
                for kind in 0..LANES {
                    let kept = end.rho[kind] * state[left][kind];
                    innovation[left][kind] = value - kept;
                    state[left][kind] = kept + step.gain[kind] * innovation[left][kind];
                    with_level[left][kind] += step.level[kind] * innovation[left][kind];
                    with_slope[left][kind] += step.slope[kind] * innovation[left][kind];
                }
                for right in (1..=left).filter(|column| *column != slope) {
                    for kind in 0..LANES {
                        among[left][right][kind] += step.inverse[kind] * innovation[left][kind] * innovation[right][kind];
                    }
                }
            }
        }
        let mut filter = end.as_wide_as::<WIDTH>(table);
        for left in (1..WIDTH).filter(|column| *column != slope) {
            filter.state[left] = state[left];
            filter.sums[left][0] = with_level[left];
            let (one, other) = if left == series { (series, slope) } else { (slope, left) };
            filter.sums[one][other] = with_slope[left];
            for right in (1..=left).filter(|column| *column != slope) {
                for kind in 0..LANES {
                    filter.sums[left][right][kind] += among[left][right][kind];
                }
            }
        }
        filter
    }
}

impl Lane {
    fn of(memories: &[Memory; LANES], table: &Table) -> Lane {
        let mut end = Filter::<LANES, 3>::bare(memories, table.samples, BARE, [0.0, SLOPE_PRECISION, 0.0]);
        let steps = table.past().iter().map(|row| {
            let kept = end.rho;
            let (gain, inverse) = end.gains(&kept);
            let innovation = end.absorb(row, &kept, &gain, &inverse);
            let scaled = |column: usize| std::array::from_fn(|kind| innovation[column][kind] * inverse[kind]);
            Step { gain, inverse, level: scaled(0), slope: scaled(1) }
        });
        let steps = steps.collect();
        // Of the series nothing is kept.
        end.state[2] = [0.0; LANES];
        end.sums[2] = [[0.0; LANES]; 3];
        Lane { steps, end }
    }
}

impl Filter<LANES, 3> {
    /// The same with room for the columns of this table, of which nothing was seen yet.
    fn as_wide_as<const WIDTH: usize>(&self, table: &Table) -> Filter<LANES, WIDTH> {
        let slope = WIDTH - 2;
        let mut wide = Filter::<LANES, WIDTH> {
            columns: table.columns(),
            rho: self.rho,
            process: self.process,
            white: self.white,
            state: [[0.0; LANES]; WIDTH],
            variance: self.variance,
            sums: super::prior(table),
            determinant: self.determinant,
            log_determinant: self.log_determinant,
            rows: self.rows,
        };
        (wide.state[0], wide.state[slope]) = (self.state[0], self.state[1]);
        (wide.sums[0][0], wide.sums[slope][0], wide.sums[slope][slope]) = (self.sums[0][0], self.sums[1][0], self.sums[1][1]);
        wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::effect::buckets::Grid;
    use crate::score::effect::{Better, Question, forecast::fit};

    fn track(seed: u64, days: f64) -> Vec<(f64, f64)> {
        let value =
            |minute: i64| (minute as f64 * 0.11 + seed as f64).sin() + ((minute * 7919 + seed as i64 * 31).rem_euclid(101)) as f64 / 60.0;
        (-(days * 1440.0) as i64 - 200..=20).map(|minute| (60.0 * minute as f64, value(minute))).collect()
    }

    /// With and without siblings and past days, and whatever was asked before.
    #[test]
    fn the_short_way_comes_to_what_the_long_way_comes_to() {
        let mut workspace = Workspace::default();
        for (seed, days, controls) in [(1, 0.0, 0), (2, 2.0, 0), (3, 0.0, 2), (4, 2.0, 2), (5, 0.0, 0)] {
            let target = track(seed, days);
            let siblings: Vec<_> = (0..controls).map(|number| track(seed + number, days)).collect();
            let siblings: Vec<&[(f64, f64)]> = siblings.iter().map(Vec::as_slice).collect();
            for to in [600.0, 1200.0] {
                let question =
                    Question { target: &target, controls: &siblings, from: 120.0, to, better: Better::Up, matters: 0.1, natural: None };
                let table = Table::fill(&question, &Grid::for_question(&question).unwrap()).unwrap();
                assert!(table.is_whole);
                let both = |workspace: Option<&mut Workspace>| match table.width() {
                    3 => fit::<3>(&table, workspace),
                    4 => fit::<4>(&table, workspace),
                    _ => fit::<5>(&table, workspace),
                };
                let (short, again, long) = (both(Some(&mut workspace)), both(Some(&mut Workspace::default())), both(None));
                assert_eq!(short.forecast, again.forecast, "what was asked before changes no bit");
                assert_eq!(short.memory, long.memory);
                let near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * long.forecast.scale.max(other.abs());
                let (short, long) = (short.forecast, long.forecast);
                assert!(near(short.mean, long.mean) && near(short.scale, long.scale), "{seed} {to}: {short:?} {long:?}");
            }
        }
    }

    #[test]
    fn holes_take_the_long_way() {
        let mut target = track(1, 0.0);
        target.retain(|(at, _)| !(-1800.0..-900.0).contains(at));
        let question = Question { target: &target, controls: &[], from: 0.0, to: 600.0, better: Better::Up, matters: 0.1, natural: None };
        let table = Table::fill(&question, &Grid::for_question(&question).unwrap()).unwrap();
        assert!(Workspace::default().shape(&table).is_none());
    }
}
