//! One file of the sample log: a header, then framed records; open (`<first seq>.log`) or sealed (`<first seq>.zst`).
//!
//! A frame is `length (LEB128), CRC-32 of the body (4 bytes, little endian), body`. A sealed file is a zstd skippable frame with
//! the segment's facts, then one zstd frame that holds the open file byte for byte: `zstd -d` turns one into the other.
//! Deliberately absent: what the bodies mean (`record`). An editor breaks it by trusting a length before it is checked.

use super::record::Decoder;
use super::wire::{Broken, Cursor, put_u64};
use crate::journal::{JournalError, JournalErrorKind};
use homeostat_model::Time;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A sha256.
pub type Hash = [u8; 32];

const MAGIC: &[u8; 7] = b"HSTSMPL";
const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = 20;
const SEALED_MAGIC: u32 = 0x184D_2A50;
const SEALED_FACTS_BYTES: usize = 8 + 6 * 8 + 32 + 4;
/// A frame longer than this is damage: no read is that large.
const BODY_BYTES_MAX: u64 = 256 << 20;
/// A sealed segment that says it is larger than this unpacked is damage.
const RAW_BYTES_MAX: u64 = 1 << 30;
const ZSTD_LEVEL: i32 = 3;

/// The facts of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Number of the first entry.
    pub first_seq: u64,
    /// Number of the last entry.
    pub last_seq: u64,
    /// Time of the first entry.
    pub first_at: Time,
    /// Time of the last entry.
    pub last_at: Time,
    /// How many entries there are.
    pub entries: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// sha256 over the uncompressed file; `None` until it is sealed.
    pub hash: Option<Hash>,
}

pub(super) fn open_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}.log"))
}

pub(super) fn sealed_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}.zst"))
}

pub(super) fn put_header(out: &mut Vec<u8>, first_seq: u64) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&first_seq.to_le_bytes());
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Reads the header: the first sequence number, `None` where the file is torn before its end.
pub(super) fn take_header(path: &Path, bytes: &[u8]) -> Result<Option<u64>, JournalError> {
    let corrupt = |kind, detail: &str| JournalError::new(kind, "read", path, detail);
    let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
    if &header[..7] != MAGIC {
        return Err(corrupt(JournalErrorKind::Corrupt, "this is not a sample log segment"));
    }
    if header[7] > VERSION {
        let detail = format!("the segment has format {}, this build reads up to {VERSION}; use a newer Homeostat", header[7]);
        return Err(corrupt(JournalErrorKind::TooNew, &detail));
    }
    if crc32fast::hash(&header[..16]).to_le_bytes() != header[16..] {
        return Err(corrupt(JournalErrorKind::Corrupt, "the header's checksum does not match"));
    }
    Ok(Some(le_u64(&header[8..16])))
}

fn le_u64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Appends a frame around a body.
pub(super) fn put_frame(out: &mut Vec<u8>, body: &[u8]) {
    put_u64(out, body.len() as u64);
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    out.extend_from_slice(body);
}

/// The frame at the front: its body and its whole length. `None` where it is torn or damaged.
pub(super) fn take_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut from = Cursor::new(bytes);
    let len = from.u64().ok().filter(|len| *len <= BODY_BYTES_MAX)?;
    let crc = from.take(4).ok()?;
    let body = from.take(usize::try_from(len).ok()?).ok()?;
    (crc32fast::hash(body).to_le_bytes() == crc).then(|| (body, bytes.len() - from.left()))
}

/// What a walk over an open segment found.
pub(super) struct Scan {
    /// The facts of the good part; `None` if it holds no entry.
    pub(super) facts: Option<SegmentFacts>,
    /// Length of the good part in bytes.
    pub(super) good: usize,
    /// Why it ends there, where it does not end at the file's end.
    pub(super) torn: Option<&'static str>,
}

/// Walks an open segment's frames. `contiguous_after`: entries numbered above it must follow each other (a batch whose other half
/// never reached the table was not written; see `SampleLog::open`).
pub(super) fn scan(path: &Path, bytes: &[u8], contiguous_after: Option<u64>) -> Result<Scan, JournalError> {
    let Some(first_seq) = take_header(path, bytes)? else {
        return Ok(Scan { facts: None, good: 0, torn: (!bytes.is_empty()).then_some("the header is torn") });
    };
    let mut decoder = Decoder::new(first_seq);
    let mut found = Scan { facts: None, good: HEADER_BYTES, torn: None };
    let mut offset = HEADER_BYTES;
    let mut contiguous_last = contiguous_after;
    while offset < bytes.len() {
        let Some((body, len)) = take_frame(&bytes[offset..]) else {
            found.torn = Some("a record is torn or damaged");
            break;
        };
        offset += len;
        match decoder.stamp_of(body) {
            Err(Broken(why)) => {
                found.torn = Some(why);
                break;
            }
            // An introduction belongs to the read behind it; alone at the end it is cut off with it.
            Ok(None) => continue,
            Ok(Some((seq, at))) => {
                if contiguous_last.is_some_and(|last| seq > last + 1) {
                    found.torn = Some("the batch behind it was never committed");
                    break;
                }
                contiguous_last = contiguous_last.map(|last| last.max(seq));
                let facts = found.facts.get_or_insert(SegmentFacts {
                    first_seq: seq,
                    last_seq: seq,
                    first_at: at,
                    last_at: at,
                    entries: 0,
                    bytes: 0,
                    hash: None,
                });
                (facts.last_seq, facts.last_at, facts.entries) = (seq, at, facts.entries + 1);
                found.good = offset;
            }
        }
    }
    if found.torn.is_none() && found.good < bytes.len() {
        found.torn = Some("an introduction without a read stands at the end");
    }
    if let Some(facts) = &mut found.facts {
        facts.bytes = found.good as u64;
    }
    Ok(found)
}

/// Packs an open segment's bytes. `facts` are those of [`scan`]; returns the sealed file's content and hash.
pub(super) fn seal(path: &Path, facts: &SegmentFacts, raw: &[u8]) -> Result<(Vec<u8>, Hash), JournalError> {
    let hash: Hash = Sha256::digest(raw).into();
    let mut out = Vec::with_capacity(raw.len() / 4);
    out.extend_from_slice(&SEALED_MAGIC.to_le_bytes());
    out.extend_from_slice(&(SEALED_FACTS_BYTES as u32).to_le_bytes());
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    for number in [facts.first_seq, facts.last_seq, facts.first_at.0 as u64, facts.last_at.0 as u64, facts.entries, raw.len() as u64] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&hash);
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL).map_err(|error| JournalError::io("compress", path, error))?;
    let packed = encoder.write_all(raw).and_then(|()| encoder.finish()).map_err(|error| JournalError::io("compress", path, error))?;
    Ok((packed, hash))
}

/// Length of the front of a sealed file that [`sealed_facts`] needs.
pub(super) const SEALED_FRONT_BYTES: usize = 8 + SEALED_FACTS_BYTES;

/// The facts at the front of a sealed file, and its unpacked length. `bytes` of the facts is left 0.
pub(super) fn sealed_facts(path: &Path, front: &[u8]) -> Result<(SegmentFacts, u64), JournalError> {
    let corrupt = |detail: &str| JournalError::new(JournalErrorKind::Corrupt, "read", path, detail);
    let front = front.get(..SEALED_FRONT_BYTES).ok_or_else(|| corrupt("the sealed segment is cut off"))?;
    let facts = &front[8..];
    if le_u64(&front[..4]) != u64::from(SEALED_MAGIC) || le_u64(&front[4..8]) != SEALED_FACTS_BYTES as u64 || &facts[..7] != MAGIC {
        return Err(corrupt("this is not a sealed sample log segment"));
    }
    let body = &facts[..SEALED_FACTS_BYTES - 4];
    if crc32fast::hash(body).to_le_bytes() != facts[SEALED_FACTS_BYTES - 4..] {
        return Err(corrupt("the sealed segment's facts do not match their checksum"));
    }
    if facts[7] > VERSION {
        let detail = format!("the segment has format {}, this build reads up to {VERSION}; use a newer Homeostat", facts[7]);
        return Err(JournalError::new(JournalErrorKind::TooNew, "read", path, detail));
    }
    let number = |i: usize| le_u64(&facts[8 + 8 * i..16 + 8 * i]);
    let mut hash: Hash = [0; 32];
    hash.copy_from_slice(&facts[56..88]);
    let found = SegmentFacts {
        first_seq: number(0),
        last_seq: number(1),
        first_at: Time(number(2) as i64),
        last_at: Time(number(3) as i64),
        entries: number(4),
        bytes: 0,
        hash: Some(hash),
    };
    Ok((found, number(5)))
}

/// Unpacks a sealed file to the open file's bytes, at most as many as its facts say.
pub(super) fn unseal(path: &Path, sealed: &[u8]) -> Result<Vec<u8>, JournalError> {
    let corrupt = |detail: String| JournalError::new(JournalErrorKind::Corrupt, "unpack", path, detail);
    let (facts, raw_len) = sealed_facts(path, sealed)?;
    if raw_len > RAW_BYTES_MAX {
        return Err(corrupt(format!("it says it holds {raw_len} bytes, at most {RAW_BYTES_MAX} are possible")));
    }
    let mut decoder = zstd::Decoder::with_buffer(&sealed[SEALED_FRONT_BYTES..]).map_err(|error| JournalError::io("unpack", path, error))?;
    let mut raw = Vec::with_capacity(raw_len as usize);
    Read::take(&mut decoder, raw_len + 1)
        .read_to_end(&mut raw)
        .map_err(|error| corrupt(format!("the compressed data is damaged ({error})")))?;
    let hash: Hash = Sha256::digest(&raw).into();
    if Some(hash) != facts.hash {
        return Err(corrupt("the content does not match its sha256".into()));
    }
    Ok(raw)
}
