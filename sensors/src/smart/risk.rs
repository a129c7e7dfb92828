//! How likely a disk is to fail within a year, from the counters that it reports.
//!
//! The numbers are annual failure rates of hard disks by raw attribute value: Backblaze's drive statistics, as tabulated by Scrutiny
//! (`webapp/backend/pkg/thresholds/ata_attribute_metadata.go`, MIT). A rate is events per disk and year, so it may exceed 1.
//! What that table does not cover (NVMe, wear, a failed self-assessment) has rates of our own, marked [`Basis::Rule`].
//!
//! Deliberately absent: attribute 199 (CRC errors come from the cable; the table says 15 %, the disk is innocent), attribute 184
//! (tabulated by normalised value, which vendors scale differently), history (growth is a policy's question, it has the windows).
//! An editor breaks this by letting an unknown sign count as zero: no sign, no statement.

use std::fmt;

/// What a disk reports about itself; `None` is unknown and says nothing. Counts are decoded: 188 is already split (see
/// [`command_timeouts`]), 5 and 196 carry only their lowest word.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub struct DiskSigns {
    /// The disk's own verdict: `Some(false)` is "failing".
    pub passed: Option<bool>,
    /// ATA 5, reallocated sectors; SCSI: the grown defect list, which counts the same thing.
    pub reallocated: Option<f64>,
    /// ATA 10, spin retries.
    pub spin_retries: Option<f64>,
    /// ATA 187, errors that could not be corrected; SCSI: the sum of `total_uncorrected_errors`.
    pub reported_uncorrectable: Option<f64>,
    /// ATA 188, command timeouts (the total, not the packed raw value).
    pub command_timeouts: Option<f64>,
    /// ATA 196, reallocation events.
    pub reallocation_events: Option<f64>,
    /// ATA 197, sectors waiting for reallocation.
    pub pending: Option<f64>,
    /// ATA 198, sectors found unreadable offline.
    pub offline_uncorrectable: Option<f64>,
    /// NVMe `critical_warning`, a bit mask of 8 bits.
    pub critical_warning: Option<f64>,
    /// Endurance used, 1 = all that the maker promised; may exceed 1.
    pub used_ratio: Option<f64>,
    /// Spare capacity left, 0..1.
    pub spare_avail_ratio: Option<f64>,
    /// Spare capacity below which the maker wants the disk replaced, 0..1.
    pub spare_threshold_ratio: Option<f64>,
    /// NVMe `media_errors`.
    pub media_errors: Option<f64>,
}

/// What a rate rests on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A bucket of the table that contains the value.
    Table,
    /// No bucket contains the value; the rate of the nearest bucket below it.
    TableBelow,
    /// A rule of ours, not a statistic.
    Rule,
    /// Named, but without weight: the sign says too little alone.
    Weak,
}

/// One sign's share in the risk.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct RiskReason {
    /// The sign, in words.
    pub sign: &'static str,
    /// Its value.
    pub value: f64,
    /// The annual failure rate that goes with it, as a ratio.
    pub ratio: f64,
    /// What the rate rests on.
    pub basis: Basis,
}

impl fmt::Display for RiskReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let basis = match self.basis {
            Basis::Table => "",
            Basis::TableBelow => ", by the nearest lower bucket",
            Basis::Rule => ", by rule",
            Basis::Weak => ", not counted alone",
        };
        write!(f, "{} {}: {:.1} % a year{basis}", self.sign, self.value, self.ratio * 100.0)
    }
}

/// The risk and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Risk {
    /// Annual failure rate as a ratio: 0.05 is 5 % of such disks a year. May exceed 1.
    pub ratio: f64,
    /// Every sign that was known, the weightiest first.
    pub reasons: Vec<RiskReason>,
}

/// `low < value <= high`, or `value == low` where both are equal.
struct Bucket {
    low: f64,
    high: f64,
    rate: f64,
}

const fn bucket(low: f64, high: f64, rate: f64) -> Bucket {
    Bucket { low, high, rate }
}

const REALLOCATED: &[Bucket] = &[
    bucket(0.0, 0.0, 0.0252),
    bucket(1.0, 4.0, 0.0274),
    bucket(4.0, 16.0, 0.0750),
    bucket(16.0, 70.0, 0.2359),
    bucket(70.0, 260.0, 0.3619),
    bucket(260.0, 1100.0, 0.5677),
    bucket(1100.0, 4500.0, 1.5028),
    bucket(4500.0, 17000.0, 2.0660),
    bucket(17000.0, 70000.0, 1.7755),
];
const SPIN_RETRIES: &[Bucket] = &[bucket(0.0, 0.0, 0.0546), bucket(0.0, 80.0, 0.5556)];
const REPORTED_UNCORRECTABLE: &[Bucket] = &[
    bucket(0.0, 0.0, 0.0281),
    bucket(1.0, 1.0, 0.3388),
    bucket(1.0, 3.0, 0.2406),
    bucket(3.0, 6.0, 0.5014),
    bucket(6.0, 11.0, 0.3801),
    bucket(11.0, 20.0, 0.5346),
    bucket(20.0, 35.0, 0.8428),
    bucket(35.0, 65.0, 1.4429),
    bucket(65.0, 120.0, 1.6191),
];
/// The table buckets the packed 48-bit value; its steps of 13e9 are three counts of the highest word (2^32 each).
const COMMAND_TIMEOUTS: &[Bucket] = &[
    bucket(0.0, 3.0, 0.1004),
    bucket(3.0, 6.0, 0.3340),
    bucket(6.0, 9.0, 0.3672),
    bucket(9.0, 12.0, 0.2985),
    bucket(12.0, 15.0, 0.2203),
    bucket(15.0, 18.0, 0.3018),
    bucket(18.0, 21.0, 0.3285),
    bucket(21.0, 24.0, 0.2849),
];
const REALLOCATION_EVENTS: &[Bucket] = &[
    bucket(0.0, 0.0, 0.0074),
    bucket(1.0, 1.0, 0.0266),
    bucket(1.0, 2.0, 0.0247),
    bucket(2.0, 4.0, 0.0320),
    bucket(4.0, 7.0, 0.0431),
    bucket(7.0, 11.0, 0.0338),
    bucket(11.0, 17.0, 0.1698),
    bucket(17.0, 27.0, 0.0590),
    bucket(27.0, 45.0, 0.2470),
];
const PENDING: &[Bucket] = &[
    bucket(0.0, 0.0, 0.0255),
    bucket(1.0, 2.0, 0.3420),
    bucket(2.0, 6.0, 0.6824),
    bucket(6.0, 16.0, 0.6108),
    bucket(16.0, 40.0, 0.9565),
    bucket(40.0, 100.0, 1.6520),
    bucket(100.0, 250.0, 2.5138),
    bucket(250.0, 650.0, 3.3203),
    bucket(650.0, 1600.0, 3.1330),
];
const OFFLINE_UNCORRECTABLE: &[Bucket] = &[
    bucket(0.0, 0.0, 0.0287),
    bucket(0.0, 2.0, 0.8136),
    bucket(2.0, 4.0, 1.1173),
    bucket(4.0, 6.0, 1.3559),
    bucket(6.0, 8.0, 0.7325),
    bucket(8.0, 10.0, 0.5777),
    bucket(10.0, 12.0, 1.7464),
    bucket(12.0, 14.0, 2.6449),
    bucket(14.0, 16.0, 0.7969),
];

/// A disk whose own verdict is "failing", or whose `critical_warning` says "replace".
const RATE_FAILING: f64 = 1.0;
/// Beyond the endurance or with media errors: no statistics are known to us; placed at Scrutiny's failing line for other attributes.
const RATE_WORN_OUT: f64 = 0.20;
/// Close to its endurance, or with media errors: Scrutiny's warning line.
const RATE_WORN: f64 = 0.10;
/// A flash disk that reports nothing bad: about one percent a year, the order of Backblaze's SSD reports.
const RATE_FLASH_HEALTHY: f64 = 0.01;
/// Bits of `critical_warning` that mean "replace": 0 spare used up, 2 reliability degraded, 3 read-only. Bit 1 is heat (cooling, not
/// the disk), 4 and 5 concern the write cache and persistent memory.
const REPLACE_BITS: u64 = 0b1101;

/// The annual failure rate of a disk that reports these signs: the highest of the single rates (they overlap, so they are not
/// added). `None` where no sign is known.
///
/// Sources: the table of this module for ATA 5, 10, 187, 188, 196, 197, 198, bucket rule `low < value <= high`; a value between buckets
/// takes the nearest lower bucket and its reason says so. 188 alone has no weight: it made people replace good disks.
pub fn disk_failure_risk(signs: &DiskSigns) -> Option<Risk> {
    let mut reasons = Vec::with_capacity(8);
    table_reasons(signs, &mut reasons);
    rule_reasons(signs, &mut reasons);
    reasons.retain(|reason: &RiskReason| reason.ratio.is_finite());
    reasons.sort_by(|a, b| (a.basis == Basis::Weak).cmp(&(b.basis == Basis::Weak)).then(b.ratio.total_cmp(&a.ratio)));
    let ratio = reasons.iter().filter(|reason| reason.basis != Basis::Weak).map(|reason| reason.ratio).reduce(f64::max)?;
    Some(Risk { ratio, reasons })
}

fn table_reasons(signs: &DiskSigns, reasons: &mut Vec<RiskReason>) {
    let tabulated = [
        ("reallocated sectors", signs.reallocated, REALLOCATED),
        ("spin retries", signs.spin_retries, SPIN_RETRIES),
        ("reported uncorrectable errors", signs.reported_uncorrectable, REPORTED_UNCORRECTABLE),
        ("reallocation events", signs.reallocation_events, REALLOCATION_EVENTS),
        ("pending sectors", signs.pending, PENDING),
        ("offline uncorrectable sectors", signs.offline_uncorrectable, OFFLINE_UNCORRECTABLE),
    ];
    for (sign, value, table) in tabulated {
        if let Some(value) = value.filter(|value| *value >= 0.0) {
            let (ratio, basis) = rate(table, value);
            reasons.push(RiskReason { sign, value, ratio, basis });
        }
    }
    if let Some(value) = signs.command_timeouts.filter(|value| *value > 0.0) {
        let company = [signs.reallocated, signs.reported_uncorrectable, signs.pending, signs.offline_uncorrectable];
        let (ratio, basis) = rate(COMMAND_TIMEOUTS, value);
        let basis = if company.iter().any(|other| other.is_some_and(|value| value > 0.0)) { basis } else { Basis::Weak };
        reasons.push(RiskReason { sign: "command timeouts", value, ratio, basis });
    }
}

fn rule_reasons(signs: &DiskSigns, reasons: &mut Vec<RiskReason>) {
    let mut rule = |sign, value, ratio| reasons.push(RiskReason { sign, value, ratio, basis: Basis::Rule });
    if signs.passed == Some(false) {
        rule("own verdict: failing, passed", 0.0, RATE_FAILING);
    }
    if let Some(bits) = signs.critical_warning {
        let replace = bits as u64 & REPLACE_BITS != 0;
        rule("critical warning bits", bits, if replace { RATE_FAILING } else { RATE_FLASH_HEALTHY });
    }
    if let (Some(left), Some(threshold)) = (signs.spare_avail_ratio, signs.spare_threshold_ratio) {
        rule("spare capacity left", left, if left < threshold { RATE_FAILING } else { RATE_FLASH_HEALTHY });
    }
    if let Some(used) = signs.used_ratio {
        let ratio = match used {
            used if used >= 1.0 => RATE_WORN_OUT,
            used if used >= 0.8 => RATE_WORN,
            _ => RATE_FLASH_HEALTHY,
        };
        rule("endurance used", used, ratio);
    }
    if let Some(errors) = signs.media_errors {
        rule("media errors", errors, if errors > 0.0 { RATE_WORN } else { RATE_FLASH_HEALTHY });
    }
}

/// The rate of the bucket that holds `value`, else of the nearest one below it. Tables begin at 0, values are not negative.
fn rate(table: &[Bucket], value: f64) -> (f64, Basis) {
    let holds = |b: &&Bucket| if b.low == b.high { value == b.low } else { b.low < value && value <= b.high };
    match table.iter().find(holds) {
        Some(found) => (found.rate, Basis::Table),
        None => (table.iter().rev().find(|b| b.high < value).unwrap_or(&table[0]).rate, Basis::TableBelow),
    }
}

/// The number of command timeouts in attribute 188's raw value. Seagate packs three 16-bit counters (all, longer than 5 s, longer
/// than 7.5 s): 17180131332 is 4, 4, 4. Others store a plain count.
pub fn command_timeouts(raw: u64) -> u64 {
    if raw <= 0xffff { raw } else { raw & 0xffff }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(signs: DiskSigns) -> f64 {
        disk_failure_risk(&signs).unwrap().ratio
    }

    #[test]
    fn no_sign_makes_no_statement() {
        assert_eq!(disk_failure_risk(&DiskSigns::default()), None);
        assert_eq!(disk_failure_risk(&DiskSigns { passed: Some(true), ..Default::default() }), None);
    }

    #[test]
    fn the_bucket_rule_is_exact_then_half_open() {
        let pending = |value| ratio(DiskSigns { pending: Some(value), ..Default::default() });
        assert_eq!([pending(0.0), pending(2.0), pending(3.0), pending(6.0), pending(7.0)], [0.0255, 0.3420, 0.6824, 0.6824, 0.6108]);
        let uncorrectable = |value| ratio(DiskSigns { reported_uncorrectable: Some(value), ..Default::default() });
        assert_eq!([uncorrectable(1.0), uncorrectable(2.0), uncorrectable(4.0)], [0.3388, 0.2406, 0.5014]);
    }

    #[test]
    fn a_value_between_buckets_takes_the_lower_one_and_says_so() {
        let risk = disk_failure_risk(&DiskSigns { reallocated: Some(1.0), ..Default::default() }).unwrap();
        assert_eq!((risk.ratio, risk.reasons[0].basis), (0.0252, Basis::TableBelow));
        assert!(risk.reasons[0].to_string().contains("nearest lower bucket"), "{}", risk.reasons[0]);
        let beyond = disk_failure_risk(&DiskSigns { pending: Some(1e6), ..Default::default() }).unwrap();
        assert_eq!((beyond.ratio, beyond.reasons[0].basis), (3.1330, Basis::TableBelow));
    }

    #[test]
    fn command_timeouts_are_split_and_count_only_in_company() {
        assert_eq!((command_timeouts(17_180_131_332), command_timeouts(29), command_timeouts(0)), (4, 29, 0));
        let alone = DiskSigns { command_timeouts: Some(29.0), reallocated: Some(0.0), ..Default::default() };
        assert_eq!(ratio(alone), 0.0252);
        assert_eq!(ratio(DiskSigns { reallocated: Some(2.0), command_timeouts: Some(4.0), ..Default::default() }), 0.3340);
        assert_eq!(disk_failure_risk(&DiskSigns { command_timeouts: Some(5.0), ..Default::default() }), None);
    }

    #[test]
    fn nvme_rules_follow_the_bits() {
        let bits = |bits| ratio(DiskSigns { critical_warning: Some(bits), media_errors: Some(0.0), ..Default::default() });
        assert_eq!([bits(0.0), bits(1.0), bits(2.0), bits(4.0), bits(8.0), bits(16.0)], [0.01, 1.0, 0.01, 1.0, 1.0, 0.01]);
        assert_eq!(ratio(DiskSigns { passed: Some(false), critical_warning: Some(16.0), ..Default::default() }), 1.0);
        let used = |used| ratio(DiskSigns { used_ratio: Some(used), ..Default::default() });
        assert_eq!([used(0.5), used(0.8), used(1.0)], [0.01, 0.10, 0.20]);
        let spare = |left| ratio(DiskSigns { spare_avail_ratio: Some(left), spare_threshold_ratio: Some(0.1), ..Default::default() });
        assert_eq!([spare(0.1), spare(0.09)], [0.01, 1.0]);
    }

    #[test]
    fn the_table_is_the_published_one() {
        let Some(text) = crate::corpus::read("sensing/scrutiny/ata_observed_failure_rates.json") else { return };
        let all: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let ours = [
            ("5", REALLOCATED),
            ("10", SPIN_RETRIES),
            ("187", REPORTED_UNCORRECTABLE),
            ("196", REALLOCATION_EVENTS),
            ("197", PENDING),
            ("198", OFFLINE_UNCORRECTABLE),
        ];
        for (id, table) in ours {
            let observed = all[id]["observed"].as_array().unwrap();
            assert_eq!(observed.len(), table.len(), "{id}");
            for (theirs, ours) in observed.iter().zip(table) {
                assert_eq!((theirs["low"].as_f64(), theirs["high"].as_f64()), (Some(ours.low), Some(ours.high)), "{id}");
                assert!((theirs["afr"].as_f64().unwrap() - ours.rate).abs() < 0.0001, "{id} {theirs}");
            }
        }
        for (theirs, ours) in all["188"]["observed"].as_array().unwrap().iter().zip(COMMAND_TIMEOUTS) {
            assert_eq!((theirs["high"].as_f64().unwrap() / 2f64.powi(32)).floor(), ours.high);
            assert!((theirs["afr"].as_f64().unwrap() - ours.rate).abs() < 0.0001, "188 {theirs}");
        }
    }

    proptest! {
        #[test]
        fn another_sign_never_lowers_the_risk(a in 0f64..5000.0, b in 0f64..5000.0, passed in any::<bool>()) {
            let less = DiskSigns { pending: Some(a), ..Default::default() };
            let more = DiskSigns { reallocated: Some(b), passed: Some(passed), media_errors: Some(0.0), ..less };
            prop_assert!(ratio(more) >= ratio(less));
            let risk = disk_failure_risk(&more).unwrap();
            prop_assert!(risk.ratio.is_finite() && risk.ratio >= 0.0 && risk.reasons[0].ratio == risk.ratio);
        }
    }
}
