//! The faces from outside: our own sensors, Debian's Prometheus, a plain HTTP client, magic packets.

mod acts;
mod cluster;
mod genuine;
mod lab;
mod reads;
mod scraped;
mod senses;
