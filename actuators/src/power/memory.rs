//! What is remembered of a node beside the marks: when it was last woken and last put to rest, how long its wakes took and what they drew.
//!
//! One small file per node in the ledger's folder, fed by proven ends only. Deliberately absent: anything that must be right to be safe
//! from acting twice (the marks are for that); a lost file only forgets. An editor breaks this by remembering what was not seen.

use super::rental::{BOOTS_MIN, Measured};
use crate::ledger::Ledger;
use homeostat_model::{Fault, Span, Time};
use serde::{Deserialize, Serialize};

/// How many wakes are remembered.
const WAKES_MAX: usize = 20;
/// From how many on they say something.
const WAKES_MIN: usize = 5;
/// How much longer than the 95th percentile a wake may take.
const SLACK: f64 = 1.5;
/// A learned deadline is never shorter.
const DEADLINE_MIN: Span = Span::from_secs(30);

/// What is remembered of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// When it was last seen to wake after a send.
    #[serde(default)]
    pub woken_at: Option<Time>,
    /// When it was last seen to fall silent after a send.
    #[serde(default)]
    pub rested_at: Option<Time>,
    /// How long the last wakes took, in milliseconds, oldest first.
    #[serde(default)]
    pub wakes_ms: Vec<i64>,
    /// What the last wakes drew that could be metered, in joules, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wakes_joules: Vec<f64>,
}

impl Memory {
    /// What is known; nothing, if the file is absent or damaged.
    pub(super) fn read(ledger: &Ledger, node: &str) -> Result<Memory, Fault> {
        let text = ledger.recall(&file(node))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    fn write(&self, ledger: &Ledger, node: &str) {
        let text = serde_json::to_vec(self).unwrap_or_default();
        if let Err(fault) = ledger.keep(&file(node), &text) {
            tracing::warn!(node, %fault, "When the node was last woken or put to rest was not remembered.");
        }
    }

    /// Remembers a proven wake, and what it drew if that was metered. The answer: what the boots say now.
    pub(super) fn woken(ledger: &Ledger, node: &str, at: Time, took: Span, joules: Option<f64>) -> Measured {
        let mut memory = Memory::read(ledger, node).unwrap_or_default();
        memory.woken_at = Some(at);
        memory.wakes_ms.push(took.millis());
        let excess = memory.wakes_ms.len().saturating_sub(WAKES_MAX);
        memory.wakes_ms.drain(..excess);
        memory.wakes_joules.extend(joules);
        let excess = memory.wakes_joules.len().saturating_sub(WAKES_MAX);
        memory.wakes_joules.drain(..excess);
        memory.write(ledger, node);
        memory.measured()
    }

    /// Remembers a proven rest.
    pub(super) fn rested(ledger: &Ledger, node: &str, at: Time) {
        let memory = Memory { rested_at: Some(at), ..Memory::read(ledger, node).unwrap_or_default() };
        memory.write(ledger, node);
    }

    /// What the remembered wakes say of a boot.
    pub(super) fn measured(&self) -> Measured {
        let mut wakes = self.wakes_ms.clone();
        wakes.sort_unstable();
        let mut joules = self.wakes_joules.clone();
        joules.sort_by(f64::total_cmp);
        Measured {
            boots: wakes.len(),
            time: wakes.get(wakes.len() / 2).copied().map_or(Span::ZERO, Span::from_millis),
            joules: joules.get(joules.len() / 2).copied().filter(|_| joules.len() >= BOOTS_MIN),
        }
    }

    /// How long the next wake may take: from earlier ones, at most `longest`.
    pub(super) fn deadline(&self, longest: Span) -> Span {
        if self.wakes_ms.len() < WAKES_MIN {
            return longest;
        }
        let mut wakes = self.wakes_ms.clone();
        wakes.sort_unstable();
        // The nearest rank: the smallest that 95 % do not exceed.
        let rank = (wakes.len() * 95).div_ceil(100).max(1);
        Span::from_millis(wakes[rank - 1]).times(SLACK).max(DEADLINE_MIN).min(longest)
    }
}

fn file(node: &str) -> String {
    format!("power-{node}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_are_remembered_and_teach_the_deadline() {
        let (_dir, ledger) = crate::conformance::ledger();
        let longest = Span::from_secs(300);
        assert_eq!(Memory::read(&ledger, "nas").unwrap().deadline(longest), longest);
        for second in 1..=30 {
            Memory::woken(&ledger, "nas", Time(second), Span::from_secs(second * 2), None);
        }
        Memory::rested(&ledger, "nas", Time(99));
        let memory = Memory::read(&ledger, "nas").unwrap();
        assert_eq!((memory.woken_at, memory.rested_at, memory.wakes_ms.len()), (Some(Time(30)), Some(Time(99)), WAKES_MAX));
        // The last twenty took 22 to 60 s; the 19th of them 58 s.
        assert_eq!(memory.deadline(longest), Span::from_secs(87));
        assert_eq!(memory.deadline(Span::from_secs(60)), Span::from_secs(60));
        assert_eq!(memory.measured(), Measured { boots: WAKES_MAX, time: Span::from_secs(42), joules: None });
        assert_eq!(Memory::default().measured(), Measured::default());
        let metered = [900.0, 5_000.0].map(|joules| Memory::woken(&ledger, "pi", Time(1), Span::from_secs(9), Some(joules)).joules);
        assert_eq!(metered, [None, None], "two metered boots are too few");
        assert_eq!(Memory::woken(&ledger, "pi", Time(1), Span::from_secs(9), Some(800.0)).joules, Some(900.0));
        assert_eq!(Memory { wakes_ms: vec![5; 5], ..memory }.deadline(longest), DEADLINE_MIN);
        assert_eq!(Memory::read(&ledger, "muscle").unwrap(), Memory::default(), "each node has its own");
        ledger.keep("power-nas.json", b"{").unwrap();
        assert_eq!(Memory::read(&ledger, "nas").unwrap(), Memory::default());
    }
}
