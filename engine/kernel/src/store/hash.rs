//! A hash map with a fixed hash, for look-ups whose order is never seen.
//!
//! Deliberately absent: any iteration that reaches an answer, a journal or a metric. An editor breaks this module by iterating a
//! [`FixedMap`] where the order shows; use a `BTreeMap` there. The hash is not keyed, so whoever chooses the keys can make the map
//! slow (never wrong): every map of the store is bounded by `series_max` or by the memory cap.

use std::hash::{BuildHasherDefault, Hasher};

/// A map whose order is the same in every run, but means nothing.
#[allow(clippy::disallowed_types)]
pub type FixedMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<FixedHasher>>;

/// A folded multiplication per 8 bytes, with a final mix so that both ends of the word are good.
#[derive(Clone, Copy, Default)]
pub struct FixedHasher(u64);

const FACTOR: u64 = 0xf135_7aea_2e62_a9c5;

impl FixedHasher {
    #[inline]
    fn add(&mut self, word: u64) {
        // Both halves of the product: the low one alone forgets what the high bits of a word said.
        let product = u128::from(self.0.rotate_left(23) ^ word) * u128::from(FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for FixedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            self.add(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let mut tail = [0u8; 8];
        tail[..words.remainder().len()].copy_from_slice(words.remainder());
        self.add(u64::from_le_bytes(tail) ^ ((bytes.len() as u64) << 56));
    }
    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.add(byte.into());
    }
    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.add(word.into());
    }
    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }
    #[inline]
    fn finish(&self) -> u64 {
        // MurmurHash3's 64-bit finalizer (Austin Appleby, public domain).
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

    fn hash(value: impl Hash) -> u64 {
        let mut hasher = FixedHasher::default();
        value.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn the_hash_is_fixed_and_spreads() {
        assert_eq!(hash("node_load1"), hash("node_load1"));
        let mut low: Vec<u64> = (0..10_000u32).map(|i| hash(format!("series_{i}")) & 0xffff_ffff).collect();
        low.sort_unstable();
        low.dedup();
        assert!(low.len() > 9_990, "{} distinct of 10000", low.len());
        assert_ne!(hash("a\0"), hash("a"));
    }
}
