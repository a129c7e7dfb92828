//! What the kernel promises, tried from outside: events in, effects out, through the [`lab::Lab`].

mod acting;
mod advising;
mod alerts;
mod around;
mod distance;
mod earning;
mod evaluation;
mod guards;
mod lab;
mod lessons;
mod recovery;
mod retrace;
mod runs;
mod runs_back;
