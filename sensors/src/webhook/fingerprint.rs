//! The fingerprint of a label set as Prometheus and Alertmanager compute it.

use homeostat_model::Labels;

/// FNV-1a, 64 bit, over `name 0xff value 0xff` of all labels in order of name, as 16 hex digits (`LabelSet.Fingerprint` of
/// `prometheus/common/model`). Grafana hashes internal labels too that it does not send, so its own fingerprints differ from
/// this; ours is only a stand-in where a sender gives none.
pub fn label_fingerprint(labels: &Labels) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const SEPARATOR: u8 = 0xff;
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let hash = labels.iter().fold(OFFSET, |hash, (name, value)| {
        let hash = add(name.bytes().fold(hash, add), SEPARATOR);
        add(value.bytes().fold(hash, add), SEPARATOR)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_that_alertmanager_sends() {
        // Sent by Alertmanager 0.25.0 for these labels.
        let labels = Labels::new([("alertname", "Many"), ("i", "1"), ("test", "many")]);
        assert_eq!(label_fingerprint(&labels), "d2768b8f384f4aca");
        assert_eq!(label_fingerprint(&Labels::default()), "cbf29ce484222325");
    }
}
