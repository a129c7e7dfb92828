//! A sensor's dictionary, kept encoded: a segment begins by copying these bytes, and the daemon holds no second copy of all labels.
//!
//! Every text is written once and then named by its number. An editor breaks the format by numbering texts in another order than
//! that in which they are first written.

use super::wire::{Broken, Cursor, put_text, put_u64};
use homeostat_model::{SeriesDecl, SeriesKey};
use std::collections::HashMap;
use std::sync::Arc;

/// The writer's side.
#[derive(Default)]
pub(super) struct DictionaryWriter {
    /// Number of the first series that `encoded` holds.
    pub(super) base: u32,
    /// How many series `encoded` holds.
    pub(super) count: u32,
    /// All declarations since `base`.
    pub(super) encoded: Vec<u8>,
    /// Never iterated, so its order does not matter.
    texts: HashMap<Box<str>, u32>,
}

impl DictionaryWriter {
    /// Number of the next series.
    pub(super) fn next(&self) -> u64 {
        u64::from(self.base) + u64::from(self.count)
    }

    pub(super) fn restart(&mut self, base: u32) {
        self.base = base;
        self.count = 0;
        self.encoded.clear();
        self.texts.clear();
    }

    /// Appends declarations and returns where their bytes begin in `encoded`.
    pub(super) fn declare(&mut self, declared: &[SeriesDecl]) -> usize {
        let start = self.encoded.len();
        for decl in declared {
            self.put_text(&decl.key.metric);
            put_u64(&mut self.encoded, u64::from(decl.cohort));
            put_u64(&mut self.encoded, decl.key.labels.len() as u64);
            for (name, value) in decl.key.labels.iter() {
                self.put_text(name);
                self.put_text(value);
            }
        }
        self.count = self.count.saturating_add(declared.len() as u32);
        start
    }

    fn put_text(&mut self, text: &str) {
        match self.texts.get(text) {
            Some(number) => put_u64(&mut self.encoded, u64::from(*number) + 1),
            None => {
                self.texts.insert(text.into(), self.texts.len() as u32);
                put_u64(&mut self.encoded, 0);
                put_text(&mut self.encoded, text);
            }
        }
    }
}

/// The reader's side.
#[derive(Default)]
pub(super) struct DictionaryReader {
    pub(super) base: u32,
    pub(super) declared: Vec<SeriesDecl>,
    texts: Vec<Arc<str>>,
}

impl DictionaryReader {
    pub(super) fn next(&self) -> u64 {
        u64::from(self.base) + self.declared.len() as u64
    }

    pub(super) fn restart(&mut self, base: u32) {
        self.base = base;
        self.declared.clear();
        self.texts.clear();
    }

    /// Reads `count` declarations to the end of the list.
    pub(super) fn declare(&mut self, count: usize, from: &mut Cursor<'_>) -> Result<(), Broken> {
        for _ in 0..count {
            let metric = self.take_text(from)?;
            let cohort = from.u32()?;
            let labels = from.count()?;
            let mut pairs = Vec::with_capacity(labels);
            for _ in 0..labels {
                pairs.push((self.take_text(from)?, self.take_text(from)?));
            }
            self.declared.push(SeriesDecl { key: SeriesKey::new(metric, pairs), cohort });
        }
        Ok(())
    }

    fn take_text(&mut self, from: &mut Cursor<'_>) -> Result<Arc<str>, Broken> {
        match from.u64()?.checked_sub(1) {
            Some(number) => {
                let text = usize::try_from(number).ok().and_then(|number| self.texts.get(number));
                text.cloned().ok_or(Broken("a text is used before it is written"))
            }
            None => {
                let text: Arc<str> = from.text()?.into();
                self.texts.push(text.clone());
                Ok(text)
            }
        }
    }
}
