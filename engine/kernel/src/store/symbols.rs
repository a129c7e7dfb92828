//! Interned label names and values, so that a series costs four bytes per text.
//!
//! Deliberately absent: order (symbols are numbers, compare the texts) and leaks: texts are counted and forgotten with the last
//! series that uses them. An editor breaks this module by taking a symbol without [`Symbols::take`]: its number may then name
//! another text later.

use super::hash::FixedMap;
use std::sync::Arc;

/// The number of an interned text.
pub type Symbol = u32;

/// Estimated bytes of one interned text beside its own: map entry, slot, counters.
const OVERHEAD_BYTES: usize = 88;

/// All interned texts.
#[derive(Default)]
pub struct Symbols {
    numbers: FixedMap<Arc<str>, Symbol>,
    texts: Vec<(Arc<str>, u32)>,
    free: Vec<Symbol>,
    bytes: usize,
}

impl Symbols {
    /// The number of a text, if it is known.
    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    /// The text of a number.
    pub fn text(&self, symbol: Symbol) -> &Arc<str> {
        &self.texts[symbol as usize].0
    }

    /// Interns a text and counts one more use of it.
    pub fn take(&mut self, text: &str) -> Symbol {
        if let Some(&symbol) = self.numbers.get(text) {
            self.texts[symbol as usize].1 += 1;
            return symbol;
        }
        let shared: Arc<str> = text.into();
        let entry = (shared.clone(), 1);
        let symbol = match self.free.pop() {
            Some(symbol) => {
                self.texts[symbol as usize] = entry;
                symbol
            }
            None => {
                self.texts.push(entry);
                (self.texts.len() - 1) as Symbol
            }
        };
        self.bytes += text.len() + OVERHEAD_BYTES;
        self.numbers.insert(shared, symbol);
        symbol
    }

    /// Counts one use less; the text is forgotten with its last use.
    pub fn give_back(&mut self, symbol: Symbol) {
        let entry = &mut self.texts[symbol as usize];
        entry.1 -= 1;
        if entry.1 == 0 {
            let text = std::mem::replace(&mut entry.0, Arc::from(""));
            self.bytes -= text.len() + OVERHEAD_BYTES;
            self.numbers.remove(&text);
            self.free.push(symbol);
        }
    }

    /// Estimated memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shared_counted_and_forgotten() {
        let mut symbols = Symbols::default();
        let first = symbols.take("a");
        assert_eq!(symbols.take("a"), first);
        symbols.give_back(first);
        assert_eq!(symbols.find("a"), Some(first));
        symbols.give_back(first);
        assert_eq!((symbols.find("a"), symbols.bytes()), (None, 0));
        assert_eq!(symbols.take("b"), first);
        assert_eq!(&**symbols.text(first), "b");
    }
}
