//! Every channel against a far end that behaves as the service does.

use crate::Question;
use homeostat_model::{ActionId, Time};

/// A small question.
pub(crate) fn question() -> Question {
    Question {
        action: ActionId(12),
        title: "power.wake on node/nas".into(),
        args: vec!["wait = 60".into()],
        wished_by: "policy wake-nas".into(),
        because: "GPU queue 7 > 5 for 10 min".into(),
        claim: Some("node_up{node='nas'} > 0.5 within 5m".into()),
        plan: "0123456789abcdef".into(),
        until: Time(1_795_217_694_000),
        until_text: "2026-11-20 23:34 UTC (in 15m)".into(),
        silence_is_yes: false,
    }
}
