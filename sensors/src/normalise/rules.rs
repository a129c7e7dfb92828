//! The rule table: which raw series feed which signal, and how.
//!
//! Sources: node_exporter, Kepler before and since 0.10, smartctl_exporter, kube-state-metrics, blackbox_exporter, cert-manager,
//! kubelet and Prometheus' own `up`. Deliberately absent: thresholds (policies have those) and network or disk throughput.
//! An editor breaks this by summing overlapping energy zones, by counting the active and idle parts beside their sum, or by a
//! fallback on the same tier as what it stands in for.

use homeostat_model::Labels;

/// How a formula's inputs become its value. `a` and `b` are the sums of the inputs in each [`Role`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// `a`
    Sum,
    /// `a / b`; no value unless b > 0
    Ratio,
    /// `1 - a / b`; no value unless b > 0
    OneMinusRatio,
    /// `a - b`; no value without b
    Difference,
    /// The least of `a`, over several scrapes if need be: members seen within five minutes count.
    Min,
    /// The greatest of `a`.
    Max,
    /// `a` minus the sample's time, both in Unix seconds.
    SecondsUntil,
    /// 1 where `a` is set, 0 where `b` is set, else no value.
    ActiveNotFailed,
    /// [`crate::smart::risk::disk_failure_risk`] of the inputs' signs.
    DiskRisk,
}

/// Which side of the operation an input is on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    A,
    B,
}

/// What is taken from a raw value.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// The value.
    Value,
    /// The counter's growth per second since the reading before.
    Rate,
    /// 1 for being there.
    One,
    /// The lowest 16 bits of a SMART raw value (5 and 196 pack more above them).
    LowWord,
}

/// What an input tells [`Op::DiskRisk`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    None,
    Passed,
    Reallocated,
    SpinRetries,
    ReportedUncorrectable,
    CommandTimeouts,
    ReallocationEvents,
    Pending,
    OfflineUncorrectable,
    CriticalWarning,
    UsedRatio,
    SpareAvail,
    SpareThreshold,
    MediaErrors,
}

/// How the derived labels come from the raw ones (see the `labels` module).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `node`
    Node,
    /// `node` of `up`, for jobs that scrape nodes.
    NodeJob,
    /// `service`, `node` of `up`, for all other jobs.
    ServiceJob,
    /// `service`, `node` of a probe.
    Probe,
    /// `service`, `node` of a systemd service.
    Unit,
    /// `node` from the raw label `node`, whatever scraped it.
    KubeNode,
    /// `node`, `resource`
    Pressure(&'static str),
    /// `node`, `mountpoint`, `device`, `fstype`
    Filesystem,
    /// `node`, `sensor`
    Hwmon,
    /// `node`, `sensor`
    ThermalZone,
    /// `node`, `zone` (fixed)
    Zone(&'static str),
    /// `node`, `zone` from the raw label `zone` or `rapl_zone`
    ZoneLabel,
    /// `namespace`, `pod`, `node` of Kepler since 0.10
    Pod,
    /// `namespace`, `pod`, `node` of Kepler's containers before 0.10
    PodOfContainer,
    /// `container`, `namespace`, `pod`, `node` of Kepler since 0.10 (the pod by its id)
    Container,
    /// `container`, `namespace`, `pod`, `node` of Kepler before 0.10
    OldContainer,
    /// `node`, `disk`, `model`, `serial`
    Disk,
    /// The same, for NVMe disks only: the exporter says 0 for all others.
    Nvme,
    /// `certificate`, `source`, `node` of a probe
    ProbedCertificate,
    /// `certificate`, `source` of cert-manager
    ManagedCertificate,
    /// `certificate` (fixed), `source`, `node` of a kubelet
    KubeletCertificate(&'static str),
    /// `namespace`, `pod`, `container`
    PodContainer,
    /// `namespace`, `pod`, `container`, `reason`
    PodContainerReason,
}

/// A condition on one raw label; an absent label has the value "".
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum If {
    Is(&'static str, &'static str),
    Not(&'static str, &'static str),
    Lacks(&'static str, &'static str),
    Begins(&'static str, &'static str),
}

impl If {
    fn holds(self, labels: &Labels) -> bool {
        let value = |name| labels.get(name).unwrap_or("");
        match self {
            If::Is(name, expected) => value(name) == expected,
            If::Not(name, refused) => value(name) != refused,
            If::Lacks(name, part) => !value(name).contains(part),
            If::Begins(name, head) => value(name).starts_with(head),
        }
    }
}

/// One raw metric's part in one signal.
#[derive(Copy, Clone, Debug)]
pub(super) struct Rule {
    pub(super) raw: &'static str,
    pub(super) signal: &'static str,
    pub(super) shape: Shape,
    pub(super) op: Op,
    pub(super) conditions: &'static [If],
    pub(super) role: Role,
    pub(super) take: Take,
    pub(super) sign: Sign,
    /// Sources of a signal in order of trust: only the lowest tier that has a value counts.
    pub(super) tier: u8,
    /// Adds to its tier, but does not make one (dram beside package).
    pub(super) companion: bool,
    /// Values of zero or less mean "not known".
    pub(super) positive: bool,
    pub(super) scale: f64,
}

const fn rule(raw: &'static str, signal: &'static str, shape: Shape, op: Op) -> Rule {
    let (conditions, role, take, sign): (&'static [If], _, _, _) = (&[], Role::A, Take::Value, Sign::None);
    Rule { raw, signal, shape, op, conditions, role, take, sign, tier: 0, companion: false, positive: false, scale: 1.0 }
}

impl Rule {
    const fn when(mut self, conditions: &'static [If]) -> Rule {
        self.conditions = conditions;
        self
    }
    const fn b(mut self) -> Rule {
        self.role = Role::B;
        self
    }
    const fn take(mut self, take: Take) -> Rule {
        self.take = take;
        self
    }
    const fn rate(self) -> Rule {
        self.take(Take::Rate)
    }
    const fn tier(mut self, tier: u8) -> Rule {
        self.tier = tier;
        self
    }
    const fn companion(mut self) -> Rule {
        self.companion = true;
        self
    }
    const fn positive(mut self) -> Rule {
        self.positive = true;
        self
    }
    const fn scale(mut self, scale: f64) -> Rule {
        self.scale = scale;
        self
    }
    const fn sign(mut self, sign: Sign) -> Rule {
        self.sign = sign;
        self
    }
    /// Whether a raw series with these labels is meant.
    pub(super) fn applies(&self, labels: &Labels) -> bool {
        self.conditions.iter().all(|condition| condition.holds(labels))
    }
}

use If::{Begins, Is, Lacks, Not};
use Op::*;
use Shape::*;

const BUSY: &[If] = &[Not("mode", "idle"), Not("mode", "iowait")];
const IDLE: &[If] = &[Is("mode", "idle")];
const RUNNING_PACKAGE: &[If] = &[Is("state", "running"), Is("zone", "package")];
const RUNNING_DRAM: &[If] = &[Is("state", "running"), Is("zone", "dram")];
const RUNNING_PSYS: &[If] = &[Is("state", "running"), Is("zone", "psys")];
const PACKAGE: &[If] = &[Is("zone", "package")];
const DRAM: &[If] = &[Is("zone", "dram")];
const PSYS: &[If] = &[Is("zone", "psys")];
const SUPPLY: &[If] = &[Is("source_type", "PowerSupply")];
/// The memory-mapped path shows the package a second time.
const NOT_MMIO: &[If] = &[Lacks("path", "mmio")];
const RAPL_PACKAGE: &[If] = &[Lacks("path", "mmio"), Begins("rapl_zone", "package")];
const RAPL_DRAM: &[If] = &[Lacks("path", "mmio"), Begins("rapl_zone", "dram")];
const RAPL_PSYS: &[If] = &[Lacks("path", "mmio"), Begins("rapl_zone", "psys")];
const CURRENT: &[If] = &[Is("temperature_type", "current")];

macro_rules! attribute {
    ($id:literal) => {
        &[Is("attribute_value_type", "raw"), Is("attribute_id", $id)]
    };
}

/// The table. Several rows of one raw metric feed several signals.
pub(super) const RULES: &[&[Rule]] = &[NODE, FILESYSTEM, TEMPERATURE, NODE_ENERGY, WORKLOAD_ENERGY, DISK, SERVICE];

const NODE: &[Rule] = &[
    rule("up", "node_up", NodeJob, Min),
    rule("kube_node_status_condition", "node_up", KubeNode, Min).when(&[Is("condition", "Ready"), Is("status", "true")]).tier(1),
    rule("node_time_seconds", "node_uptime_seconds", Node, Difference),
    rule("node_boot_time_seconds", "node_uptime_seconds", Node, Difference).b(),
    rule("node_cpu_seconds_total", "node_cpu_busy_ratio", Node, Ratio).when(BUSY).rate(),
    rule("node_cpu_seconds_total", "node_cpu_busy_ratio", Node, Ratio).rate().b(),
    rule("node_load1", "node_load1_per_core_ratio", Node, Ratio),
    rule("node_cpu_seconds_total", "node_load1_per_core_ratio", Node, Ratio).when(IDLE).take(Take::One).b(),
    rule("node_memory_MemAvailable_bytes", "node_memory_avail_bytes", Node, Sum),
    rule("node_memory_MemAvailable_bytes", "node_memory_avail_ratio", Node, Ratio),
    rule("node_memory_MemTotal_bytes", "node_memory_avail_ratio", Node, Ratio).b(),
    rule("node_memory_SwapFree_bytes", "node_swap_used_ratio", Node, OneMinusRatio),
    rule("node_memory_SwapTotal_bytes", "node_swap_used_ratio", Node, OneMinusRatio).b(),
    rule("node_pressure_cpu_waiting_seconds_total", "node_pressure_ratio", Pressure("cpu"), Sum).rate(),
    rule("node_pressure_memory_waiting_seconds_total", "node_pressure_ratio", Pressure("memory"), Sum).rate(),
    rule("node_pressure_io_waiting_seconds_total", "node_pressure_ratio", Pressure("io"), Sum).rate(),
];

const FILESYSTEM: &[Rule] = &[
    rule("node_filesystem_avail_bytes", "filesystem_avail_bytes", Filesystem, Sum),
    rule("node_filesystem_size_bytes", "filesystem_size_bytes", Filesystem, Sum),
    rule("node_filesystem_avail_bytes", "filesystem_avail_ratio", Filesystem, Ratio),
    rule("node_filesystem_size_bytes", "filesystem_avail_ratio", Filesystem, Ratio).b(),
    rule("node_filesystem_files_free", "filesystem_files_avail_ratio", Filesystem, Ratio),
    rule("node_filesystem_files", "filesystem_files_avail_ratio", Filesystem, Ratio).b(),
    rule("node_filesystem_readonly", "filesystem_readonly", Filesystem, Sum),
];

const TEMPERATURE: &[Rule] = &[
    rule("node_hwmon_temp_celsius", "temperature_celsius", Hwmon, Sum),
    rule("node_hwmon_temp_crit_celsius", "temperature_critical_celsius", Hwmon, Sum).positive(),
    rule("node_thermal_zone_temp", "temperature_celsius", ThermalZone, Sum),
];

/// Tiers: 0 package with dram, 1 psys, 2 power supplies or the platform meter; 3 and 4 the same from node_exporter's RAPL.
const NODE_ENERGY: &[Rule] = &[
    rule("kepler_node_cpu_watts", "node_power_watts", Node, Sum).when(PACKAGE),
    rule("kepler_node_cpu_watts", "node_power_watts", Node, Sum).when(DRAM).companion(),
    rule("kepler_node_cpu_watts", "node_power_watts", Node, Sum).when(PSYS).tier(1),
    rule("kepler_platform_watts", "node_power_watts", Node, Sum).when(SUPPLY).tier(2),
    rule("kepler_node_package_joules_total", "node_power_watts", Node, Sum).rate(),
    rule("kepler_node_dram_joules_total", "node_power_watts", Node, Sum).rate().companion(),
    rule("kepler_node_platform_joules_total", "node_power_watts", Node, Sum).rate().tier(2),
    rule("node_rapl_package_joules_total", "node_power_watts", Node, Sum).when(NOT_MMIO).rate().tier(3),
    rule("node_rapl_dram_joules_total", "node_power_watts", Node, Sum).when(NOT_MMIO).rate().tier(3).companion(),
    rule("node_rapl_psys_joules_total", "node_power_watts", Node, Sum).when(NOT_MMIO).rate().tier(4),
    rule("node_rapl_joules_total", "node_power_watts", Node, Sum).when(RAPL_PACKAGE).rate().tier(3),
    rule("node_rapl_joules_total", "node_power_watts", Node, Sum).when(RAPL_DRAM).rate().tier(3).companion(),
    rule("node_rapl_joules_total", "node_power_watts", Node, Sum).when(RAPL_PSYS).rate().tier(4),
    rule("kepler_node_cpu_joules_total", "node_energy_joules_total", Node, Sum).when(PACKAGE),
    rule("kepler_node_cpu_joules_total", "node_energy_joules_total", Node, Sum).when(DRAM).companion(),
    rule("kepler_node_cpu_joules_total", "node_energy_joules_total", Node, Sum).when(PSYS).tier(1),
    rule("kepler_node_package_joules_total", "node_energy_joules_total", Node, Sum),
    rule("kepler_node_dram_joules_total", "node_energy_joules_total", Node, Sum).companion(),
    rule("kepler_node_platform_joules_total", "node_energy_joules_total", Node, Sum).tier(2),
    rule("node_rapl_package_joules_total", "node_energy_joules_total", Node, Sum).when(NOT_MMIO).tier(3),
    rule("node_rapl_dram_joules_total", "node_energy_joules_total", Node, Sum).when(NOT_MMIO).tier(3).companion(),
    rule("node_rapl_psys_joules_total", "node_energy_joules_total", Node, Sum).when(NOT_MMIO).tier(4),
    rule("node_rapl_joules_total", "node_energy_joules_total", Node, Sum).when(RAPL_PACKAGE).tier(3),
    rule("node_rapl_joules_total", "node_energy_joules_total", Node, Sum).when(RAPL_DRAM).tier(3).companion(),
    rule("node_rapl_joules_total", "node_energy_joules_total", Node, Sum).when(RAPL_PSYS).tier(4),
    rule("kepler_node_cpu_watts", "node_power_zone_watts", ZoneLabel, Sum),
    rule("kepler_node_gpu_watts", "node_power_zone_watts", Zone("gpu"), Sum),
    rule("kepler_platform_watts", "node_power_zone_watts", Zone("platform"), Sum).when(SUPPLY),
    rule("kepler_node_package_joules_total", "node_power_zone_watts", Zone("package"), Sum).rate(),
    rule("kepler_node_core_joules_total", "node_power_zone_watts", Zone("core"), Sum).rate(),
    rule("kepler_node_uncore_joules_total", "node_power_zone_watts", Zone("uncore"), Sum).rate(),
    rule("kepler_node_dram_joules_total", "node_power_zone_watts", Zone("dram"), Sum).rate(),
    rule("kepler_node_gpu_joules_total", "node_power_zone_watts", Zone("gpu"), Sum).when(&[Not("mode", "")]).rate(),
    rule("kepler_node_platform_joules_total", "node_power_zone_watts", Zone("platform"), Sum).rate(),
    rule("node_rapl_package_joules_total", "node_power_zone_watts", Zone("package"), Sum).when(NOT_MMIO).rate().tier(3),
    rule("node_rapl_core_joules_total", "node_power_zone_watts", Zone("core"), Sum).when(NOT_MMIO).rate().tier(3),
    rule("node_rapl_uncore_joules_total", "node_power_zone_watts", Zone("uncore"), Sum).when(NOT_MMIO).rate().tier(3),
    rule("node_rapl_dram_joules_total", "node_power_zone_watts", Zone("dram"), Sum).when(NOT_MMIO).rate().tier(3),
    rule("node_rapl_psys_joules_total", "node_power_zone_watts", Zone("psys"), Sum).when(NOT_MMIO).rate().tier(3),
    rule("node_rapl_joules_total", "node_power_zone_watts", ZoneLabel, Sum).when(NOT_MMIO).rate().tier(3),
    rule("kepler_node_cpu_joules_total", "node_energy_zone_joules_total", ZoneLabel, Sum),
    rule("kepler_node_gpu_joules_total", "node_energy_zone_joules_total", Zone("gpu"), Sum),
    rule("kepler_node_package_joules_total", "node_energy_zone_joules_total", Zone("package"), Sum),
    rule("kepler_node_core_joules_total", "node_energy_zone_joules_total", Zone("core"), Sum),
    rule("kepler_node_uncore_joules_total", "node_energy_zone_joules_total", Zone("uncore"), Sum),
    rule("kepler_node_dram_joules_total", "node_energy_zone_joules_total", Zone("dram"), Sum),
    rule("kepler_node_platform_joules_total", "node_energy_zone_joules_total", Zone("platform"), Sum),
    rule("node_rapl_package_joules_total", "node_energy_zone_joules_total", Zone("package"), Sum).when(NOT_MMIO).tier(3),
    rule("node_rapl_core_joules_total", "node_energy_zone_joules_total", Zone("core"), Sum).when(NOT_MMIO).tier(3),
    rule("node_rapl_uncore_joules_total", "node_energy_zone_joules_total", Zone("uncore"), Sum).when(NOT_MMIO).tier(3),
    rule("node_rapl_dram_joules_total", "node_energy_zone_joules_total", Zone("dram"), Sum).when(NOT_MMIO).tier(3),
    rule("node_rapl_psys_joules_total", "node_energy_zone_joules_total", Zone("psys"), Sum).when(NOT_MMIO).tier(3),
    rule("node_rapl_joules_total", "node_energy_zone_joules_total", ZoneLabel, Sum).when(NOT_MMIO).tier(3),
];

const WORKLOAD_ENERGY: &[Rule] = &[
    rule("kepler_pod_cpu_watts", "pod_power_watts", Pod, Sum).when(RUNNING_PACKAGE),
    rule("kepler_pod_cpu_watts", "pod_power_watts", Pod, Sum).when(RUNNING_DRAM).companion(),
    rule("kepler_pod_cpu_watts", "pod_power_watts", Pod, Sum).when(RUNNING_PSYS).tier(1),
    rule("kepler_container_package_joules_total", "pod_power_watts", PodOfContainer, Sum).rate(),
    rule("kepler_container_dram_joules_total", "pod_power_watts", PodOfContainer, Sum).rate().companion(),
    rule("kepler_container_joules_total", "pod_power_watts", PodOfContainer, Sum).rate().tier(2),
    rule("kepler_pod_cpu_joules_total", "pod_energy_joules_total", Pod, Sum).when(RUNNING_PACKAGE),
    rule("kepler_pod_cpu_joules_total", "pod_energy_joules_total", Pod, Sum).when(RUNNING_DRAM).companion(),
    rule("kepler_pod_cpu_joules_total", "pod_energy_joules_total", Pod, Sum).when(RUNNING_PSYS).tier(1),
    rule("kepler_container_package_joules_total", "pod_energy_joules_total", PodOfContainer, Sum),
    rule("kepler_container_dram_joules_total", "pod_energy_joules_total", PodOfContainer, Sum).companion(),
    rule("kepler_container_joules_total", "pod_energy_joules_total", PodOfContainer, Sum).tier(2),
    rule("kepler_container_cpu_watts", "container_power_watts", Container, Sum).when(RUNNING_PACKAGE),
    rule("kepler_container_cpu_watts", "container_power_watts", Container, Sum).when(RUNNING_DRAM).companion(),
    rule("kepler_container_cpu_watts", "container_power_watts", Container, Sum).when(RUNNING_PSYS).tier(1),
    rule("kepler_container_package_joules_total", "container_power_watts", OldContainer, Sum).rate(),
    rule("kepler_container_dram_joules_total", "container_power_watts", OldContainer, Sum).rate().companion(),
    rule("kepler_container_joules_total", "container_power_watts", OldContainer, Sum).rate().tier(2),
    rule("kepler_container_cpu_joules_total", "container_energy_joules_total", Container, Sum).when(RUNNING_PACKAGE),
    rule("kepler_container_cpu_joules_total", "container_energy_joules_total", Container, Sum).when(RUNNING_DRAM).companion(),
    rule("kepler_container_cpu_joules_total", "container_energy_joules_total", Container, Sum).when(RUNNING_PSYS).tier(1),
    rule("kepler_container_package_joules_total", "container_energy_joules_total", OldContainer, Sum),
    rule("kepler_container_dram_joules_total", "container_energy_joules_total", OldContainer, Sum).companion(),
    rule("kepler_container_joules_total", "container_energy_joules_total", OldContainer, Sum).tier(2),
];

const DISK: &[Rule] = &[
    rule("smartctl_device_smart_status", "disk_health_passed", Disk, Sum),
    rule("smartctl_device_status", "disk_health_passed", Disk, Sum).tier(1),
    rule("smartctl_device_attribute", "disk_reallocated_sectors", Disk, Sum).when(attribute!("5")).take(Take::LowWord),
    rule("smartctl_device_attribute", "disk_pending_sectors", Disk, Sum).when(attribute!("197")),
    rule("smartctl_device_attribute", "disk_offline_uncorrectable_sectors", Disk, Sum).when(attribute!("198")),
    rule("smartctl_device_attribute", "disk_reported_uncorrectable_errors", Disk, Sum).when(attribute!("187")),
    rule("smartctl_device_attribute", "disk_crc_errors", Disk, Sum).when(attribute!("199")),
    rule("smartctl_device_temperature", "disk_temperature_celsius", Disk, Sum).when(CURRENT).positive(),
    rule("smartctl_device_power_on_seconds", "disk_power_on_seconds", Disk, Sum).positive(),
    rule("smartctl_device_power_cycle_count", "disk_power_cycles", Disk, Sum).positive(),
    rule("smartctl_device_percentage_used", "disk_used_ratio", Nvme, Sum).scale(0.01),
    rule("smartctl_device_available_spare", "disk_spare_avail_ratio", Nvme, Sum).scale(0.01),
    rule("smartctl_device_media_errors", "disk_media_errors", Nvme, Sum),
    rule("smartctl_device_critical_warning", "disk_critical_warning", Nvme, Sum),
    rule("smartctl_device_smart_status", "disk_failure_risk", Disk, DiskRisk).sign(Sign::Passed),
    rule("smartctl_device_status", "disk_failure_risk", Disk, DiskRisk).sign(Sign::Passed),
    rule("smartctl_device_attribute", "disk_failure_risk", Disk, DiskRisk)
        .when(attribute!("5"))
        .take(Take::LowWord)
        .sign(Sign::Reallocated),
    rule("smartctl_device_attribute", "disk_failure_risk", Disk, DiskRisk).when(attribute!("10")).sign(Sign::SpinRetries),
    rule("smartctl_device_attribute", "disk_failure_risk", Disk, DiskRisk).when(attribute!("187")).sign(Sign::ReportedUncorrectable),
    rule("smartctl_device_attribute", "disk_failure_risk", Disk, DiskRisk).when(attribute!("188")).sign(Sign::CommandTimeouts),
    rule("smartctl_device_attribute", "disk_failure_risk", Disk, DiskRisk)
        .when(attribute!("196"))
        .take(Take::LowWord)
        .sign(Sign::ReallocationEvents),
    rule("smartctl_device_attribute", "disk_failure_risk", Disk, DiskRisk).when(attribute!("197")).sign(Sign::Pending),
    rule("smartctl_device_attribute", "disk_failure_risk", Disk, DiskRisk).when(attribute!("198")).sign(Sign::OfflineUncorrectable),
    rule("smartctl_device_critical_warning", "disk_failure_risk", Nvme, DiskRisk).sign(Sign::CriticalWarning),
    rule("smartctl_device_percentage_used", "disk_failure_risk", Nvme, DiskRisk).scale(0.01).sign(Sign::UsedRatio),
    rule("smartctl_device_available_spare", "disk_failure_risk", Nvme, DiskRisk).scale(0.01).sign(Sign::SpareAvail),
    rule("smartctl_device_available_spare_threshold", "disk_failure_risk", Nvme, DiskRisk).scale(0.01).sign(Sign::SpareThreshold),
    rule("smartctl_device_media_errors", "disk_failure_risk", Nvme, DiskRisk).sign(Sign::MediaErrors),
];

const SERVICE: &[Rule] = &[
    rule("probe_success", "service_up", Probe, Min),
    rule("up", "service_up", ServiceJob, Min),
    rule("node_systemd_unit_state", "service_up", Unit, ActiveNotFailed).when(&[Is("state", "active")]),
    rule("node_systemd_unit_state", "service_up", Unit, ActiveNotFailed).when(&[Is("state", "failed")]).b(),
    rule("probe_ssl_earliest_cert_expiry", "certificate_expiry_seconds", ProbedCertificate, SecondsUntil).positive(),
    rule("certmanager_certificate_expiration_timestamp_seconds", "certificate_expiry_seconds", ManagedCertificate, SecondsUntil).positive(),
    rule("certmanager_certificate_not_after_timestamp_seconds", "certificate_expiry_seconds", ManagedCertificate, SecondsUntil)
        .positive()
        .tier(1),
    rule("kubelet_certificate_manager_client_ttl_seconds", "certificate_expiry_seconds", KubeletCertificate("kubelet-client"), Sum),
    rule("kubelet_certificate_manager_server_ttl_seconds", "certificate_expiry_seconds", KubeletCertificate("kubelet-server"), Sum),
    rule("kube_pod_container_status_restarts_total", "pod_restarts_total", PodContainer, Max),
    rule("kube_pod_container_status_waiting_reason", "pod_waiting", PodContainerReason, Max),
];
