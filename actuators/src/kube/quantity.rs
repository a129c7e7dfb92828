//! Kubernetes quantities (`250m`, `1.5`, `128Mi`, `1G`): read for comparing, never rewritten.
//!
//! After k8s.io/apimachinery/pkg/api/resource/quantity.go. Deliberately absent: arithmetic; two texts of one amount compare as equal.
//! An editor breaks this by reading `1M` (a million) as `1Mi`.

/// Suffixes and their factors, the longer first.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1048576.0),
    ("Gi", 1073741824.0),
    ("Ti", 1099511627776.0),
    ("Pi", 1125899906842624.0),
    ("Ei", 1152921504606846976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// The amount in base units (cores, bytes).
pub fn amount(text: &str) -> Result<f64, String> {
    let fail = || format!("`{}` is no quantity, expected such as `250m`, `2`, `128Mi`", text.chars().take(40).collect::<String>());
    let (digits, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|digits| (digits, *factor))).unwrap_or((text, 1.0));
    // `inf` and `nan` are numbers to Rust.
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-')) {
        return Err(fail());
    }
    let number: f64 = digits.parse().map_err(|_| fail())?;
    let amount = number * factor;
    if amount.is_finite() && amount >= 0.0 { Ok(amount) } else { Err(fail()) }
}

/// Whether two quantities are the same amount.
pub fn same(one: &str, other: &str) -> bool {
    match (amount(one), amount(other)) {
        (Ok(one), Ok(other)) => (one - other).abs() <= 1e-9 * one.max(other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_server_does() {
        for (text, expected) in
            [("250m", 0.25), ("2", 2.0), ("1.5", 1.5), ("128Mi", 134217728.0), ("1M", 1e6), ("1e3", 1000.0), ("1E", 1e18)]
        {
            assert!((amount(text).unwrap() - expected).abs() < 1e-9 * expected, "{text}");
        }
        for bad in ["", "m", "abc", "-1", "inf", "nan", "1 Gi", "1KB", "1mi"] {
            assert!(amount(bad).is_err(), "{bad}");
        }
        assert!(same("1Gi", "1024Mi") && same("0.5", "500m") && !same("1G", "1Gi"));
    }
}
