//! Numbers of the exposition formats, exactly as `strconv.ParseFloat` reads them (without hexadecimal and underscores).
//!
//! Nearly every number of a page is short: its digits fit into 53 bits and its power of ten is at most 22, and then one
//! multiplication or division of two exact doubles gives the correctly rounded result (Clinger 1990, "How to read floating point
//! numbers accurately"). All others go to the standard library. An editor breaks this by widening either bound.

/// Powers of ten that a double holds exactly.
const EXACT_TENS: [f64; 23] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

/// Reads a whole token; `None` if it is not a number. `NaN` and infinities are numbers, in any case of letters.
pub fn parse_number(token: &[u8]) -> Option<f64> {
    match short_decimal(token, 0) {
        Some((value, end)) if end == token.len() => Some(value),
        _ => any_number(token),
    }
}

/// Reads the number that starts at `at` if it is a short decimal; returns it with the place after it. `None` means "ask
/// [`parse_number`]", not "no number".
#[inline]
pub(super) fn short_decimal(text: &[u8], at: usize) -> Option<(f64, usize)> {
    let mut i = at;
    let negative = text.get(i) == Some(&b'-');
    i += usize::from(negative);
    let mut mantissa: u64 = 0;
    let first = i;
    while let Some(digit) = text.get(i).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        i += 1;
    }
    let mut digits = i - first;
    let mut power: i32 = 0;
    if text.get(i) == Some(&b'.') {
        i += 1;
        let fraction = i;
        while let Some(digit) = text.get(i).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            i += 1;
        }
        digits += i - fraction;
        power = -i32::try_from(i - fraction).ok()?;
    }
    // 19 digits cannot have wrapped; more may have.
    if digits == 0 || digits > 19 || mantissa > 1 << 53 {
        return None;
    }
    if matches!(text.get(i), Some(b'e' | b'E')) {
        let (exponent, end) = short_exponent(text, i + 1)?;
        power += exponent;
        i = end;
    }
    let exact = mantissa as f64;
    let value = match power {
        0 => exact,
        1..=22 => exact * EXACT_TENS[power as usize],
        -22..=-1 => exact / EXACT_TENS[-power as usize],
        _ if mantissa == 0 => 0.0,
        _ => return None,
    };
    Some((if negative { -value } else { value }, i))
}

/// A sign and one to three digits.
fn short_exponent(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let mut i = at;
    let negative = text.get(i) == Some(&b'-');
    if matches!(text.get(i), Some(b'-' | b'+')) {
        i += 1;
    }
    let first = i;
    let mut exponent: i32 = 0;
    while let Some(digit) = text.get(i).filter(|byte| byte.is_ascii_digit()) {
        if i - first == 3 {
            return None;
        }
        exponent = exponent * 10 + i32::from(digit - b'0');
        i += 1;
    }
    (i > first).then_some((if negative { -exponent } else { exponent }, i))
}

fn any_number(token: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(token).ok()?;
    let value: f64 = text.parse().ok()?;
    // Go refuses a signed NaN; Rust reads it.
    if value.is_nan() { text.eq_ignore_ascii_case("nan").then_some(f64::NAN) } else { Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-0.25", -0.25),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("+2", 2.0),
            ("Inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("infinity", f64::INFINITY),
            ("7.424100000000001e-05", 7.424100000000001e-05),
            ("9007199254740993", 9007199254740993.0),
            ("18446744073709551616", 18446744073709551616.0),
            ("0e999", 0.0),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_number(b"-0").unwrap().is_sign_negative());
        assert!(parse_number(b"nAn").unwrap().is_nan());
        for text in
            ["", ".", "-", "+", "e5", "1e", "1e+", "1_2", "0x1p-3", "0x10", "true", "1.2.3", "1 ", "--1", "+nan", "-NaN", "1e3x", "\u{ff}"]
        {
            assert_eq!(parse_number(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_way_of_writing_a_number_is_exact(bits: u64, digits in 0usize..18) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value}"), format!("{value:e}"), format!("{value:.digits$}"), format!("{value:.digits$e}")] {
                let expected: f64 = text.parse().unwrap();
                prop_assert_eq!(parse_number(text.as_bytes()).unwrap().to_bits(), expected.to_bits(), "{}", text);
            }
        }

        #[test]
        fn short_numbers_are_exact(whole in 0u64..1 << 54, shift in 0u32..20, exponent in -40i32..40) {
            let whole = whole >> (shift * 2);
            for text in [format!("{whole}"), format!("{whole}e{exponent}"), format!("{}.{whole}", whole % 97), format!("-{whole}.5e{exponent:+03}")] {
                let expected: f64 = text.parse().unwrap();
                prop_assert_eq!(parse_number(text.as_bytes()).unwrap().to_bits(), expected.to_bits(), "{}", text);
            }
        }

        #[test]
        fn nothing_else_is_a_number(text in "[-+0-9eE._xpinfatyINFA]{0,8}") {
            let go_like = text.parse::<f64>().ok().filter(|value| !value.is_nan() || !text.starts_with(['-', '+']));
            prop_assert_eq!(parse_number(text.as_bytes()).map(f64::to_bits), go_like.map(f64::to_bits), "{}", text);
        }
    }
}
