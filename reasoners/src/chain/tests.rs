//! The chain, against reasoners that count.
