//! When what may be done: maintenance windows that allow, quiet hours that deny. What a person orders or approves is done when they
//! say so, and a run that has begun goes on.

use super::{Case, Opinion};
use homeostat_model::{Calendar, CalendarWindow, Class, Span, Time, Weekday, WindowRule};

const DAY_MINUTES: i64 = 24 * 60;
/// How far ahead an opening is looked for; one week holds every window.
const AHEAD_MINUTES: i64 = 8 * DAY_MINUTES;

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    let class = case.touches().iter().map(|touch| touch.class).max().unwrap_or(Class::Notify).max(case.class());
    let calendar = &case.settings.calendar;
    if !calendar.windows.iter().any(|window| window.classes.contains(&class)) {
        return Opinion::pass("no window speaks of it");
    }
    if let Some(run) = case.part_of_run() {
        return Opinion::pass(run);
    }
    if let Some(by) = case.person() {
        return Opinion::pass(format!("{by} wants it now"));
    }
    let Some(closed) = closed(calendar, class, case.now) else { return Opinion::pass("the calendar allows it") };
    let minute = Span::from_mins(1).millis();
    let next = (case.now.millis().div_euclid(minute) + 1) * minute;
    let opening = (0..AHEAD_MINUTES).map(|ahead| Time(next + ahead * minute)).find(|at| self::closed(calendar, class, *at).is_none());
    match opening {
        Some(at) => Opinion::hold(at, closed),
        None => Opinion::hold(case.now + Span::from_mins(AHEAD_MINUTES), format!("{closed}, and no window opens within eight days")),
    }
}

/// Why a class may not act at a moment, if so.
fn closed(calendar: &Calendar, class: Class, at: Time) -> Option<String> {
    let local = at.millis().div_euclid(60_000) + i64::from(calendar.utc_offset_minutes);
    let of_class = |rule| calendar.windows.iter().filter(move |window| window.rule == rule && window.classes.contains(&class));
    if let Some(window) = of_class(WindowRule::Deny).find(|window| holds(window, local)) {
        return Some(format!("within `{}` ({} to {}) nothing {class} is done", window.name, window.from, window.to));
    }
    let mut allowing = of_class(WindowRule::Allow).peekable();
    allowing.peek()?;
    let names: Vec<&str> = of_class(WindowRule::Allow).map(|window| window.name.as_str()).collect();
    if allowing.any(|window| holds(window, local)) {
        return None;
    }
    Some(format!("{class} acts only within `{}`", names.join("`, `")))
}

/// Whether a window is open at a local minute, counted from the first of January 1970, a Thursday.
fn holds(window: &CalendarWindow, local: i64) -> bool {
    let (day, minute) = (local.div_euclid(DAY_MINUTES), local.rem_euclid(DAY_MINUTES));
    let (from, to) = (i64::from(window.from.0), i64::from(window.to.0));
    let begins_on = |day: i64| {
        let weekday = Weekday::ALL[(day + 3).rem_euclid(7) as usize];
        window.weekdays.is_empty() || window.weekdays.contains(&weekday)
    };
    if from < to {
        return begins_on(day) && (from..to).contains(&minute);
    }
    (begins_on(day) && minute >= from) || (begins_on(day - 1) && minute < to)
}
