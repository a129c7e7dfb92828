//! The powers against the face, and on the wire.
