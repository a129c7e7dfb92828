//! `homeostat demo`: the plant, its network faces, and the real daemon against them, in faster time, with a story to watch.
//!
//! Reading order: `screen` (what is shown, as data), `view` (drawn), `lines` (printed), `keys` (what people do), `terminal` (the screen's
//! guard). Deliberately absent: any rule of its own; the daemon is the one that `homeostat run` starts. An editor breaks this by
//! letting the daemon see the plant past its sensors.

pub mod keys;
pub mod lines;
pub mod screen;
pub mod terminal;
pub mod view;
