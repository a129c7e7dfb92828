//! How a sealed chunk writes its numbers: whole numbers, packed in as few bits as most of them need.
//!
//! 1. Floats become whole numbers: values with at most nine decimals (nearly all metrics) are scaled by a power of ten, checked to
//!    come back bit for bit; others give their raw bits without the common trailing zeros.
//! 2. Either the numbers or their differences are written, whichever is smaller, as distances from their (sampled) median.
//! 3. Distances are zigzagged and packed at one width per block; the few that do not fit are patched (as in PFOR; Zukowski et al.,
//!    "Super-Scalar RAM-CPU Cache Compression", ICDE 2006).
//!
//! `examples/store_rate.rs` compares with standalone `pco` chunks: on node_exporter data those are larger and take several times as
//! long to encode. Deliberately absent: any loss. An editor breaks this module by changing the format of one side only; the round
//! trip is tested on arbitrary bits.

/// The most rows of a chunk; readers decode into arrays of this size.
pub const ROWS_MAX: usize = 128;

/// Powers of ten that are exact in `f64`, as far as decimals are looked for.
const TENS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Mode bytes from here on mean: raw bits, shifted right by `mode - RAW`.
const RAW: u8 = 16;

/// The bit of the packing byte that says: differences.
const DIFFERENCES: u8 = 0x80;

/// Writes at most [`ROWS_MAX`] floats.
pub fn encode_floats(values: &[f64], out: &mut Vec<u8>) {
    let mut ints = [0i64; ROWS_MAX];
    let ints = &mut ints[..values.len()];
    match decimal_exponent(values, ints) {
        Some(exponent) => out.push(exponent),
        None => {
            let all = values.iter().fold(0u64, |all, value| all | value.to_bits());
            let shift = all.trailing_zeros().min(63);
            out.push(RAW + shift as u8);
            for (int, value) in ints.iter_mut().zip(values) {
                *int = (value.to_bits() as i64) >> shift;
            }
        }
    }
    encode_ints(ints, out);
}

/// Reads `out.len()` floats that [`encode_floats`] wrote.
pub fn decode_floats(bytes: &[u8], out: &mut [f64]) {
    let mut ints = [0i64; ROWS_MAX];
    let ints = &mut ints[..out.len()];
    decode_ints(&bytes[1..], ints);
    match bytes[0] {
        0 => out.iter_mut().zip(ints).for_each(|(value, int)| *value = *int as f64),
        exponent @ 1..RAW => {
            let ten = TENS[exponent as usize];
            out.iter_mut().zip(ints).for_each(|(value, int)| *value = *int as f64 / ten);
        }
        raw => out.iter_mut().zip(ints).for_each(|(value, int)| *value = f64::from_bits((*int << (raw - RAW)) as u64)),
    }
}

/// The least number of decimals at which every value comes back exactly; fills `ints` with the scaled values.
fn decimal_exponent(values: &[f64], ints: &mut [i64]) -> Option<u8> {
    const WHOLE_MAX: f64 = (1u64 << 51) as f64;
    'exponent: for (exponent, &ten) in TENS.iter().enumerate() {
        for (int, &value) in ints.iter_mut().zip(values) {
            let scaled = value * ten;
            if scaled.is_nan() || scaled.abs() >= WHOLE_MAX {
                return None;
            }
            *int = (scaled + 0.5f64.copysign(scaled)) as i64;
            if (*int as f64 / ten).to_bits() != value.to_bits() {
                continue 'exponent;
            }
        }
        return Some(exponent as u8);
    }
    None
}

/// One way to write the numbers: distances from a base.
struct Plan {
    base: i64,
    width: u32,
    cost: u32,
    distances: [u64; ROWS_MAX],
}

impl Plan {
    fn new(numbers: impl Iterator<Item = i64> + Clone, count: usize) -> Plan {
        let base = sampled_median(numbers.clone(), count);
        let mut plan = Plan { base, width: 0, cost: 0, distances: [0; ROWS_MAX] };
        let mut lengths = [0u32; 65];
        for (distance, number) in plan.distances.iter_mut().zip(numbers) {
            let signed = number.wrapping_sub(base);
            *distance = ((signed << 1) ^ (signed >> 63)) as u64;
            lengths[64 - distance.leading_zeros() as usize] += 1;
        }
        plan.choose_width(&lengths, count as u32);
        plan
    }

    /// The width at which packing everything and patching what does not fit costs the fewest bits.
    fn choose_width(&mut self, lengths: &[u32; 65], count: u32) {
        let (mut longer, mut longer_bits) = (0u32, 0u32);
        self.cost = u32::MAX;
        for width in (0..=64u32).rev() {
            let cost = count * width + longer * 16 + (longer_bits - longer * width) * 9 / 8;
            if cost <= self.cost {
                (self.cost, self.width) = (cost, width);
            }
            longer += lengths[width as usize];
            longer_bits += lengths[width as usize] * width;
        }
    }
}

/// The median of at most 15 of the numbers: a base that one jump cannot move.
fn sampled_median(numbers: impl Iterator<Item = i64>, count: usize) -> i64 {
    let mut sample = [0i64; 16];
    let mut taken = 0;
    for number in numbers.step_by(count / 15 + 1).take(15) {
        sample[taken] = number;
        taken += 1;
    }
    sample[..taken].sort_unstable();
    sample.get(taken / 2).copied().unwrap_or(0)
}

/// Writes at most [`ROWS_MAX`] whole numbers; their count is not written.
pub fn encode_ints(ints: &[i64], out: &mut Vec<u8>) {
    let Some((&first, rest)) = ints.split_first() else { return };
    let plain = Plan::new(ints.iter().copied(), ints.len());
    let differences = Plan::new(ints.iter().zip(rest).map(|(a, b)| b.wrapping_sub(*a)), rest.len());
    let (plan, count) = if differences.cost + 64 - first.unsigned_abs().leading_zeros() < plain.cost {
        out.push(DIFFERENCES | differences.width as u8);
        push_varint(zigzag(first), out);
        (differences, rest.len())
    } else {
        out.push(plain.width as u8);
        (plain, ints.len())
    };
    push_varint(zigzag(plan.base), out);
    let distances = &plan.distances[..count];
    let fits = |distance: u64| plan.width == 64 || distance >> plan.width == 0;
    out.push(distances.iter().filter(|distance| !fits(**distance)).count() as u8);
    for (row, &distance) in distances.iter().enumerate().filter(|(_, distance)| !fits(**distance)) {
        out.push(row as u8);
        push_varint(distance >> plan.width, out);
    }
    pack_bits(distances, plan.width, out);
}

/// Reads `out.len()` whole numbers that [`encode_ints`] wrote.
pub fn decode_ints(bytes: &[u8], out: &mut [i64]) {
    if out.is_empty() {
        return;
    }
    let mut at = 1;
    let differences = bytes[0] & DIFFERENCES != 0;
    let width = u32::from(bytes[0] & !DIFFERENCES);
    let first = if differences { unzigzag(read_varint(bytes, &mut at)) } else { 0 };
    let base = unzigzag(read_varint(bytes, &mut at));
    let count = out.len() - usize::from(differences);
    let mut distances = [0u64; ROWS_MAX];
    let distances = &mut distances[..count];
    let patches = bytes[at];
    at += 1;
    let patches_at = at;
    for _ in 0..patches {
        at += 1;
        read_varint(bytes, &mut at);
    }
    unpack_bits(&bytes[at..], width, distances);
    at = patches_at;
    for _ in 0..patches {
        let row = bytes[at] as usize;
        at += 1;
        distances[row] |= read_varint(bytes, &mut at) << width;
    }
    if differences {
        out[0] = first;
        let mut last = first;
        for (int, distance) in out[1..].iter_mut().zip(distances) {
            last = last.wrapping_add(unzigzag(*distance).wrapping_add(base));
            *int = last;
        }
    } else {
        out.iter_mut().zip(distances).for_each(|(int, distance)| *int = unzigzag(*distance).wrapping_add(base));
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut number, mut shift) = (0u64, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

fn mask(width: u32) -> u64 {
    if width == 64 { u64::MAX } else { (1 << width) - 1 }
}

fn pack_bits(numbers: &[u64], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut pending, mut bits) = (0u128, 0u32);
    for number in numbers {
        pending |= u128::from(number & mask(width)) << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&(pending as u64).to_le_bytes());
            pending >>= 64;
            bits -= 64;
        }
    }
    out.extend_from_slice(&(pending as u64).to_le_bytes()[..bits.div_ceil(8) as usize]);
}

fn unpack_bits(bytes: &[u8], width: u32, out: &mut [u64]) {
    if width == 0 {
        out.fill(0);
        return;
    }
    let (mut pending, mut bits, mut at) = (0u128, 0u32, 0usize);
    for number in out {
        if bits < width {
            let word = match bytes.get(at..at + 8) {
                Some(word) => u64::from_le_bytes(word.try_into().expect("eight bytes")),
                None => {
                    let mut tail = [0u8; 8];
                    let rest = &bytes[at.min(bytes.len())..];
                    tail[..rest.len()].copy_from_slice(rest);
                    u64::from_le_bytes(tail)
                }
            };
            pending |= u128::from(word) << bits;
            bits += 64;
            at += 8;
        }
        *number = pending as u64 & mask(width);
        pending >>= width;
        bits -= width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn floats_survive(values: &[f64]) -> usize {
        let mut bytes = Vec::new();
        encode_floats(values, &mut bytes);
        let mut back = vec![0.0; values.len()];
        decode_floats(&bytes, &mut back);
        let bits = |all: &[f64]| all.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values));
        bytes.len()
    }

    #[test]
    fn typical_series_are_small() {
        let counter: Vec<f64> = (0..120).map(|i| 1e9 + f64::from(i * 1500 + (i * i) % 32)).collect();
        let load: Vec<f64> = (0..120).map(|i| f64::from(100 + (i * 37) % 16) / 100.0).collect();
        let mut jump = vec![3.0; 120];
        jump[77..].fill(4.0);
        for (name, values, bytes_max) in [("counter", counter, 150), ("load", load, 100), ("jump", jump, 24)] {
            let bytes = floats_survive(&values);
            assert!(bytes <= bytes_max, "{name}: {bytes} bytes");
        }
    }

    #[test]
    fn odd_values_survive() {
        floats_survive(&[]);
        floats_survive(&[-0.0]);
        floats_survive(&[0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, 0.1, 1.0 / 3.0]);
        floats_survive(&[2251799813685247.0, -2251799813685247.5, 2251799813685248.0]);
    }

    proptest! {
        #[test]
        fn any_bits_survive(bits in prop::collection::vec(any::<u64>(), 0..=ROWS_MAX)) {
            floats_survive(&bits.into_iter().map(f64::from_bits).collect::<Vec<_>>());
        }

        #[test]
        fn decimals_survive(start in -1_000_000i64..1_000_000, steps in prop::collection::vec(-500i64..500, 0..ROWS_MAX), decimals in 0usize..12) {
            let mut value = start;
            let values: Vec<f64> = steps.iter().map(|step| { value += step; value as f64 / 10f64.powi(decimals as i32) }).collect();
            floats_survive(&values);
        }

        #[test]
        fn any_ints_survive(ints in prop::collection::vec(prop_oneof![any::<i64>(), -9i64..9, Just(i64::MIN), Just(i64::MAX)], 0..=ROWS_MAX)) {
            let mut bytes = Vec::new();
            encode_ints(&ints, &mut bytes);
            let mut back = vec![0; ints.len()];
            decode_ints(&bytes, &mut back);
            prop_assert_eq!(back, ints);
        }
    }
}
