//! What the machines of a homelab do, in numbers: the one table of the plant, each with its source or the word "assumed".
//!
//! | number | value | source |
//! |---|---|---|
//! | small node (N100 class) idle, load | 7 W, 25 W | assumed: maker's 6 W processor, measured boxes of that class at the wall |
//! | NAS with four disks idle, load | 28 W, 48 W | assumed: 5 W a spinning disk and a small board |
//! | brain (always on) idle, load | 5 W, 12 W | the lab of the design: an always-on brain of about 5 W |
//! | muscle (GPU) idle, load, asleep | 62 W, 320 W, 4 W | assumed: desktop with one large GPU; suspend to RAM |
//! | off, with Wake-on-LAN armed | 1 W | assumed: standby of an ATX supply |
//! | boot of small node, NAS, muscle | 40 s, 120 s, 55 s, ±25 % | assumed |
//! | suspend, resume of the muscle | 6 s, 12 s, ±25 % | assumed |
//! | warmth | 0.45–2.4 K/W, time constant 90–300 s, room 22 °C | assumed: first-order lag, as in every thermal model of that size |
//! | power over load | idle + (load − idle) · busy^0.8 | assumed: concave, as Kepler's real profile from 52 to 126 W shows |
//! | restarts of a crashing container | after 10 s, doubling to 5 min | Kubernetes' own back-off |
//! | pods move off a silent node | after 5 min | Kubernetes' default toleration for unreachable nodes |
//! | disks that fail without any sign | 23.3 % | Backblaze 2016-10-06: 76.7 % of failed drives had one of five counters above zero |
//! | yearly failure rate by pending sectors | 0: 2.6 %, 1–2: 34 %, 3–6: 68 %, more: 96 % | Backblaze as tabulated by Scrutiny, attribute 197 |
//!
//! An editor breaks this by putting a number of the world anywhere else.

/// A kind of machine.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Machine {
    /// Power when on and idle, in watts.
    pub idle_watts: f64,
    /// Power at full load, in watts.
    pub load_watts: f64,
    /// Power when suspended, in watts.
    pub asleep_watts: f64,
    /// Power when off, in watts.
    pub off_watts: f64,
    /// From power-on to answering, in seconds.
    pub boot_seconds: f64,
    /// From the order to sleep to silence, in seconds.
    pub suspend_seconds: f64,
    /// From the magic packet to answering, in seconds.
    pub resume_seconds: f64,
    /// How much warmer than the room it gets per watt, in kelvin.
    pub kelvin_per_watt: f64,
    /// How slowly: the time constant, in seconds.
    pub warm_seconds: f64,
    /// Processors.
    pub cores: u32,
    /// Memory, in bytes.
    pub memory_bytes: f64,
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A small always-on node.
pub const SMALL: Machine = Machine {
    idle_watts: 7.0,
    load_watts: 25.0,
    asleep_watts: 1.5,
    off_watts: 1.0,
    boot_seconds: 40.0,
    suspend_seconds: 5.0,
    resume_seconds: 8.0,
    kelvin_per_watt: 2.2,
    warm_seconds: 180.0,
    cores: 4,
    memory_bytes: 16.0 * GIB,
};
/// A file server with four disks.
pub const NAS: Machine = Machine {
    idle_watts: 28.0,
    load_watts: 48.0,
    boot_seconds: 120.0,
    kelvin_per_watt: 0.6,
    warm_seconds: 300.0,
    memory_bytes: 32.0 * GIB,
    ..SMALL
};
/// The node that is always on and runs the engine.
pub const BRAIN: Machine = Machine { idle_watts: 5.0, load_watts: 12.0, kelvin_per_watt: 2.4, memory_bytes: 8.0 * GIB, ..SMALL };
/// The node with the GPU that sleeps.
pub const MUSCLE: Machine = Machine {
    idle_watts: 62.0,
    load_watts: 320.0,
    asleep_watts: 4.0,
    boot_seconds: 55.0,
    suspend_seconds: 6.0,
    resume_seconds: 12.0,
    kelvin_per_watt: 0.17,
    warm_seconds: 90.0,
    cores: 16,
    memory_bytes: 64.0 * GIB,
    ..SMALL
};

/// Temperature of the room, in °C.
pub const ROOM_CELSIUS: f64 = 22.0;
/// Times of boot and suspend spread by this share to both sides.
pub const JITTER: f64 = 0.25;
/// Power grows with load to this power.
pub const WATTS_EXPONENT: f64 = 0.8;
/// The share of a node that its own system needs.
pub const SYSTEM_BUSY: f64 = 0.03;
/// The share of memory that the system of a node needs.
pub const SYSTEM_MEMORY: f64 = 0.18;
/// The first wait before a crashed container starts again, in seconds; doubles each time.
pub const RESTART_WAIT_SECONDS: f64 = 10.0;
/// The longest such wait, in seconds.
pub const RESTART_WAIT_SECONDS_MAX: f64 = 300.0;
/// A pod on a silent node moves after this, in seconds.
pub const MOVE_AFTER_SECONDS: f64 = 300.0;
/// A container is ready this long after its start, in seconds (assumed).
pub const READY_SECONDS: f64 = 12.0;
/// A request that finds no capacity waits this long, in seconds (assumed: a client's patience).
pub const LATENCY_SECONDS_MAX: f64 = 10.0;
/// The share of disks that fail without a sign before.
pub const SILENT_FAILURES: f64 = 0.233;

/// The yearly failure rate of disks with so many pending sectors.
pub fn failure_rate(pending: f64) -> f64 {
    match pending {
        p if p < 1.0 => 0.026,
        p if p <= 2.0 => 0.34,
        p if p <= 6.0 => 0.68,
        _ => 0.96,
    }
}
