//! Numbers as whole numbers in the same order, for medians: comparing those is a third of the work.
//!
//! Deliberately absent: medians themselves; who needs one knows which of an even number. An editor breaks this by an order other than
//! `f64::total_cmp`'s.

/// The number's place in `f64::total_cmp`'s order.
pub fn place(value: f64) -> i64 {
    turned(value.to_bits() as i64)
}

/// The number at a place.
pub fn value(place: i64) -> f64 {
    f64::from_bits(turned(place) as u64)
}

/// Negative numbers are ordered by their size in IEEE 754: all their bits but the sign are turned.
fn turned(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_as_numbers_are() {
        let numbers = [f64::NEG_INFINITY, -1e300, -2.5, -1e-310, -0.0, 0.0, 1e-310, 0.1, 2.5, 1e300, f64::INFINITY, f64::NAN];
        for one in numbers {
            assert_eq!(value(place(one)).to_bits(), one.to_bits());
            for other in numbers {
                assert_eq!(place(one).cmp(&place(other)), one.total_cmp(&other), "{one} {other}");
            }
        }
    }
}
