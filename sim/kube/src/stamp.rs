//! Moments as Kubernetes writes them: RFC 3339 in UTC, whole seconds for `Time`, microseconds for `MicroTime`.
//!
//! Deliberately absent: other zones and leap seconds. Broken when a moment that was written does not read back as itself.

use homeostat_model::Time;

/// `metav1.Time`: whole seconds, `2026-03-01T12:00:00Z`.
pub(crate) fn stamp(time: Time) -> String {
    let (year, month, day) = civil(time.0.div_euclid(86_400_000));
    let second = time.0.rem_euclid(86_400_000) / 1000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Reads what [`stamp`] or a client wrote; fractions of a second count to the millisecond, a zone other than `Z` is refused with `None`.
pub(crate) fn parse(text: &str) -> Option<Time> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = whole.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let sane = (0..10_000).contains(&year) && (1..13).contains(&month) && (1..32).contains(&day);
    if !sane || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..61).contains(&second) {
        return None;
    }
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let seconds = hour * 3600 + minute * 60 + second;
    Some(Time(days(year, month, day) * 86_400_000 + seconds * 1000 + fraction.parse::<i64>().ok()?))
}

/// Reads a Go duration such as `1m30s`, `500ms` or `1.5h`; `None` where it is not one.
pub(crate) fn go_duration_ms(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "h" => 3_600_000.0,
                "m" => 60_000.0,
                "s" => 1000.0,
                "ms" => 1.0,
                "us" | "µs" => 1e-3,
                "ns" => 1e-6,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    Some(total as i64)
}

/// Year, month and day of a day number since 1970-01-01 (proleptic Gregorian; Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_back() {
        for (millis, text) in
            [(0, "1970-01-01T00:00:00Z"), (951_782_400_000, "2000-02-29T00:00:00Z"), (1_795_241_389_000, "2026-11-21T06:09:49Z")]
        {
            assert_eq!(stamp(Time(millis)), text);
            assert_eq!(parse(text), Some(Time(millis)));
        }
        assert_eq!(parse("1970-01-01T00:00:01.25Z"), Some(Time(1250)));
        for text in
            ["yesterday", "99999999999-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00.xZ"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn go_durations() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("5y", None),
        ] {
            assert_eq!(go_duration_ms(text), expected, "{text}");
        }
    }
}
