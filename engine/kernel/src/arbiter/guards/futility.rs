//! It must give up (lesson 7): attempts are counted per symptom, whatever became of them. Too many lock the symptom until a person
//! unlocks it. Notifications do not count: silence is no help.

use super::{Case, Opinion};
use homeostat_model::{Class, Time};

pub(super) fn rule(case: &Case<'_>) -> Opinion {
    if case.class() == Class::Notify {
        return Opinion::pass("telling does not count as an attempt");
    }
    let symptom = case.symptom();
    let settings = case.settings;
    let attempts = case.ledger.attempts_since(&symptom, case.now - settings.futility_window);
    if attempts >= settings.futility_attempts_max {
        return Opinion::hold(
            Time::MAX,
            format!(
                "{attempts} attempts on this symptom within {}: locked until a person runs `homeostat unlock {} '{}'`",
                settings.futility_window, symptom.0, symptom.1
            ),
        );
    }
    Opinion::pass(format!("{attempts} of {} attempts used", settings.futility_attempts_max))
}
