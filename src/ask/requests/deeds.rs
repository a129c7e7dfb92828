//! The sentences of the plain requests, and which verbs mean the same.
//!
//! Deliberately absent: code. An editor breaks this by putting a milder and a harsher deed under the same sentence, or a general
//! sentence before a special one.

/// What can be wished for, besides scaling and environments.
#[derive(Debug)]
pub(super) struct Deed {
    /// As in "nobody can …": `put {} to sleep`.
    pub shown: &'static str,
    /// The verbs made for it, the best first.
    pub verbs: &'static [&'static str],
    /// How playbooks and commands that do it are called, and what their description begins with.
    pub called: &'static [&'static str],
    /// The sentences.
    pub patterns: &'static [&'static str],
}

const SLEEP: Deed = Deed {
    shown: "put {} to sleep",
    verbs: &["power.sleep"],
    called: &["sleep", "suspend", "put to sleep"],
    patterns: &[
        "put|send <x> to sleep|bed",
        "put to sleep <x>",
        "let|make <x> sleep",
        "let <x> go to sleep",
        "sleep|suspend|hibernate <x>",
    ],
};
const WAKE: Deed = Deed {
    shown: "wake {}",
    verbs: &["power.wake", "power.on"],
    called: &["wake", "wake up"],
    patterns: &[
        "wake up <x>",
        "wake <x> up",
        "wake|awaken|rouse <x>",
        "get <x> up|online",
        "bring <x> up|back|online",
        "bring up|back <x>",
    ],
};
pub(super) const TURN_ON: Deed = Deed {
    shown: "turn {} on",
    verbs: &["power.on", "power.wake", "proxmox.start"],
    called: &["on", "turn on", "power on", "start"],
    patterns: &["turn|switch|power on <x>", "turn|switch|power <x> on", "power|boot up <x>", "boot <x>"],
};
const TURN_OFF: Deed = Deed {
    shown: "turn {} off",
    verbs: &["power.off", "proxmox.shutdown"],
    called: &["off", "turn off", "power off", "shut down", "shutdown"],
    patterns: &["turn|switch|power|shut off|down <x>", "turn|switch|power|shut <x> off|down", "shutdown|poweroff|halt <x>"],
};
const REBOOT: Deed = Deed {
    shown: "reboot {}",
    verbs: &["power.reboot"],
    called: &["reboot"],
    patterns: &["reboot <x>", "power cycle <x>", "power-cycle <x>", "give <x> reboot"],
};
const RESTART: Deed = Deed {
    shown: "restart {}",
    verbs: &["restart.rollout", "pod.delete", "docker.restart", "power.reboot"],
    called: &["restart", "reboot"],
    patterns: &["restart|bounce|kick|relaunch <x>", "give <x> restart|kick", "rollout restart <x>", "roll out <x> again"],
};
const CLEAN_UP: Deed = Deed {
    shown: "clean {} up",
    verbs: &[],
    called: &["cleanup", "clean up", "clean", "prune", "free space"],
    patterns: &[
        "clean|tidy|clear [up] disk|disks|filesystem|filesystems|storage|space of|on|at|in <x>",
        "clean|tidy|clear [up] <x> 's disk|disks|filesystem|storage",
        "free [up] [some] [disk] space|room|disk|storage on|of|in|at <x>",
        "make [some] room|space on|in <x>",
        "cleanup <x>",
        "do cleanup of|on <x>",
        "clean|tidy|clear up <x>",
        "clean|tidy|clear <x> up",
        "clean|prune <x>",
        "free up <x>",
    ],
};
const BACK_UP: Deed = Deed {
    shown: "back {} up",
    verbs: &["velero.backup", "restic.backup"],
    called: &["backup", "back up", "snapshot"],
    patterns: &["make|take|create|do|run|start [new] backup|snapshot of|for <x>", "back up <x>", "back <x> up", "backup|snapshot <x>"],
};
const RESTORE_TEST: Deed = Deed {
    shown: "test a restore of {}",
    verbs: &["restic.restore-test"],
    called: &["restore test", "test restore"],
    patterns: &[
        "do|run|make|start restore test|drill of|for|on|with <x>",
        "run restore-test of|for|on <x>",
        "restore test of|for|on <x>",
        "test|check|verify|try restore|restoring of|for|from <x>",
        "test|try restoring <x>",
        "test|check|verify backup|backups of|for <x>",
        "test|check|verify <x> 's backup|backups|restore",
        "test|check|verify <x> backup|backups|restore",
        "prove [that] backup of <x> can be restored",
        "restore-test|test-restore <x>",
        "restore test <x>",
    ],
};
pub(super) const DEEDS: &[&Deed] = &[&RESTORE_TEST, &CLEAN_UP, &BACK_UP, &SLEEP, &WAKE, &TURN_ON, &TURN_OFF, &REBOOT, &RESTART];

pub(super) const PAUSE: &[&str] = &[
    "pause",
    "hands off",
    "hands-off",
    "stop acting",
    "stand down",
    "freeze",
    "halt",
    "pause acting|everything|all|homeostat|yourself|automation|actions",
    "stop everything|automation|all",
    "stop all actions|automation",
    "freeze everything",
    "pause all actions",
    "hands off everything",
    "take break",
    "take a break",
    "stop doing anything",
];
pub(super) const RESUME: &[&str] = &[
    "resume",
    "unpause",
    "continue",
    "go on",
    "carry on",
    "hands on",
    "start acting [again]",
    "unfreeze",
    "act again",
    "lift|end pause",
    "resume acting|everything|all|homeostat|automation|actions|work",
    "lift|end hands off|on",
    "lift|end hands-off",
    "you may act [again]",
];
pub(super) const GERUNDS: &[(&str, &str)] = &[
    ("restarting", "restart"),
    ("rebooting", "reboot"),
    ("waking", "wake"),
    ("putting", "put"),
    ("sending", "send"),
    ("scaling", "scale"),
    ("cleaning", "clean"),
    ("backing", "back"),
    ("testing", "test"),
    ("creating", "create"),
    ("deleting", "delete"),
    ("running", "run"),
    ("starting", "start"),
    ("turning", "turn"),
    ("switching", "switch"),
    ("shutting", "shut"),
    ("adding", "add"),
    ("suspending", "suspend"),
];
