//! The store against a naive reference.
