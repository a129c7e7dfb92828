//! Sums that keep their digits: compensated sums, and squared distances that can be merged.
//!
//! An editor breaks this module by "simplifying" the order of operations: the compiler may not reorder floats, and neither may we.

/// A sum compensated after Neumaier (1974), as Prometheus sums.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    /// Adds one number.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - total) + value;
        } else {
            self.lost += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// The sum.
    pub fn total(self) -> f64 {
        self.sum + self.lost
    }
}

/// Count, mean and the sum of squared distances from the mean; one number at a time (Welford 1962) or two sets at once (Chan,
/// Golub and LeVeque 1979).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// Numbers so far.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// Sum of squared distances from it.
    pub m2: f64,
}

impl Spread {
    /// Adds one number.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean;
        self.mean += before / self.count;
        self.m2 += before * (value - self.mean);
    }

    /// Adds a set.
    pub fn merge(&mut self, count: f64, mean: f64, m2: f64) {
        let both = self.count + count;
        let apart = mean - self.mean;
        self.m2 += m2 + apart * apart * (self.count * count / both);
        self.mean += apart * (count / both);
        self.count = both;
    }
}
