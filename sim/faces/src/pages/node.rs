//! node_exporter 1.5: processors, memory, filesystems, load, pressure, temperatures, network, disks, times, names.
//!
//! Deliberately absent: collectors that nothing in the plant can fill. An editor breaks this by letting a processor's modes add up to
//! something else than its time up.

use super::flag;
use crate::meter::{BUSY_MODES, Meter, shown};
use crate::page::Page;
use homeostat_model::Time;
use homeostat_sim::plant::Node;

const COLLECTORS: [&str; 15] = [
    "cpu",
    "diskstats",
    "filesystem",
    "hwmon",
    "loadavg",
    "meminfo",
    "netclass",
    "netdev",
    "os",
    "pressure",
    "stat",
    "thermal_zone",
    "time",
    "timex",
    "uname",
];
/// Assumed: one inode per so many bytes, ext4's default.
const BYTES_PER_INODE: f64 = 16_384.0;

pub(crate) fn render(node: &Node, meter: &Meter, now: Time) -> String {
    let mut page = Page::default();
    about(&mut page, node, meter, now);
    processors(&mut page, node, meter);
    disks(&mut page, node, meter);
    filesystems(&mut page, node);
    temperatures(&mut page, node);
    loads(&mut page, meter);
    memory(&mut page, node);
    network(&mut page, node, meter);
    pressure(&mut page, meter);
    page.gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.");
    for collector in COLLECTORS {
        page.put(&[("collector", collector)], 1.0);
    }
    page.finish()
}

fn about(page: &mut Page, node: &Node, meter: &Meter, now: Time) {
    let version = [
        ("branch", "HEAD"),
        ("goarch", "amd64"),
        ("goos", "linux"),
        ("goversion", "go1.19.8"),
        ("revision", "1.5.0"),
        ("version", "1.5.0"),
    ];
    page.gauge(
        "node_exporter_build_info",
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which node_exporter was built, and the goos and goarch for the build.",
    )
    .put(&version, 1.0);
    page.gauge("node_uname_info", "Labeled system information as provided by the uname system call.").put(
        &[
            ("domainname", "(none)"),
            ("machine", "x86_64"),
            ("nodename", &node.name),
            ("release", "6.1.0-28-amd64"),
            ("sysname", "Linux"),
            ("version", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1"),
        ],
        1.0,
    );
    page.gauge(
        "node_os_info",
        "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, pretty_name, variant, variant_id, version, version_codename, version_id.",
    )
    .put(
        &[
            ("build_id", ""),
            ("id", "debian"),
            ("id_like", ""),
            ("image_id", ""),
            ("image_version", ""),
            ("name", "Debian GNU/Linux"),
            ("pretty_name", "Debian GNU/Linux 12 (bookworm)"),
            ("variant", ""),
            ("variant_id", ""),
            ("version", "12 (bookworm)"),
            ("version_codename", "bookworm"),
            ("version_id", "12"),
        ],
        1.0,
    );
    page.gauge("node_boot_time_seconds", "Node boot time, in unixtime.").put(&[], now.seconds() - meter.up_seconds);
    page.gauge("node_time_seconds", "System time in seconds since epoch (1970).").put(&[], now.seconds());
    page.gauge("node_timex_sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).").put(&[], 1.0);
    page.gauge("node_timex_offset_seconds", "Time offset in between local system and reference clock.").put(&[], 0.0);
}

fn processors(page: &mut Page, node: &Node, meter: &Meter) {
    let (idle, iowait) = meter.idle_seconds();
    page.counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
    for number in 0..node.machine.cores {
        let cpu = number.to_string();
        page.put(&[("cpu", &cpu), ("mode", "idle")], idle).put(&[("cpu", &cpu), ("mode", "iowait")], iowait);
        for (mode, share) in BUSY_MODES {
            page.put(&[("cpu", &cpu), ("mode", mode)], meter.busy_seconds * share);
        }
    }
}

fn disks(page: &mut Page, node: &Node, meter: &Meter) {
    if node.disks.is_empty() {
        return;
    }
    let alive = || node.disks.iter().zip(&meter.disks).filter(|(disk, _)| !disk.dead);
    let mut each = |name, help: &str, value: fn(&crate::meter::DiskMeter) -> f64| {
        page.counter(name, help);
        for (disk, meter) in alive() {
            page.put(&[("device", &disk.name)], value(meter));
        }
    };
    each("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", |disk| disk.busy_seconds);
    each("node_disk_read_bytes_total", "The total number of bytes read successfully.", |disk| disk.read_bytes);
    each("node_disk_written_bytes_total", "The total number of bytes written successfully.", |disk| disk.written_bytes);
    page.gauge("node_disk_info", "Info of /sys/block/<block_device>.");
    for (number, (disk, _)) in alive().enumerate() {
        let (minor, serial) = ((number * 16).to_string(), super::smart::serial(node, disk));
        let labels = [
            ("device", disk.name.as_str()),
            ("major", "8"),
            ("minor", &minor),
            ("model", super::smart::MODEL),
            ("path", ""),
            ("revision", "0103"),
            ("serial", &serial),
            ("wwn", ""),
        ];
        page.put(&labels, 1.0);
    }
}

fn filesystems(page: &mut Page, node: &Node) {
    if node.filesystems.is_empty() {
        return;
    }
    let avail = |fs: &homeostat_sim::plant::Filesystem| (1.0 - shown(node, 1.0 - fs.avail_ratio())) * fs.size_bytes;
    let files = |fs: &homeostat_sim::plant::Filesystem| (fs.size_bytes / BYTES_PER_INODE).floor();
    let mut each = |name, help: &str, value: &dyn Fn(&homeostat_sim::plant::Filesystem) -> f64| {
        page.gauge(name, help);
        for fs in &node.filesystems {
            page.put(&[("device", "/dev/data"), ("fstype", "ext4"), ("mountpoint", &fs.mountpoint)], value(fs));
        }
    };
    each("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", &avail);
    each("node_filesystem_device_error", "Whether an error occurred while getting statistics for the given device.", &|_| 0.0);
    each("node_filesystem_files", "Filesystem total file nodes.", &files);
    each("node_filesystem_files_free", "Filesystem total free file nodes.", &|fs| (files(fs) * (0.5 + 0.5 * fs.avail_ratio())).floor());
    each("node_filesystem_free_bytes", "Filesystem free space in bytes.", &avail);
    each("node_filesystem_readonly", "Filesystem read-only status.", &|_| 0.0);
    each("node_filesystem_size_bytes", "Filesystem size in bytes.", &|fs| fs.size_bytes);
}

fn temperatures(page: &mut Page, node: &Node) {
    let (chip, zone) = ("platform_coretemp_0", [("type", "x86_pkg_temp"), ("zone", "0")]);
    page.gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names")
        .put(&[("chip", chip), ("chip_name", "coretemp")], 1.0)
        .put(&[("chip", "platform_nct6775_656"), ("chip_name", "nct6798")], 1.0);
    page.gauge("node_hwmon_fan_rpm", "Hardware monitor for fan revolutions per minute (input)")
        .put(&[("chip", "platform_nct6775_656"), ("sensor", "fan1")], node.fan_rpm());
    page.gauge("node_hwmon_sensor_label", "Label for given chip and sensor")
        .put(&[("chip", chip), ("label", "Package id 0"), ("sensor", "temp1")], 1.0);
    page.gauge("node_hwmon_temp_celsius", "Hardware monitor for temperature (input)")
        .put(&[("chip", chip), ("sensor", "temp1")], node.celsius);
    page.gauge("node_hwmon_temp_crit_celsius", "Hardware monitor for temperature (crit)")
        .put(&[("chip", chip), ("sensor", "temp1")], 100.0);
    page.gauge("node_thermal_zone_temp", "Zone temperature in Celsius").put(&zone, node.celsius);
}

fn loads(page: &mut Page, meter: &Meter) {
    page.gauge("node_load1", "1m load average.").put(&[], meter.load[0]);
    page.gauge("node_load5", "5m load average.").put(&[], meter.load[1]);
    page.gauge("node_load15", "15m load average.").put(&[], meter.load[2]);
}

fn memory(page: &mut Page, node: &Node) {
    let total = node.machine.memory_bytes;
    let avail = (1.0 - shown(node, 1.0 - node.memory_avail_ratio())) * total;
    let mut field = |name, field: &str, value: f64| {
        page.gauge(name, &format!("Memory information field {field}.")).put(&[], value.floor());
    };
    field("node_memory_Buffers_bytes", "Buffers_bytes", 0.05 * avail);
    field("node_memory_Cached_bytes", "Cached_bytes", 0.35 * avail);
    field("node_memory_MemAvailable_bytes", "MemAvailable_bytes", avail);
    field("node_memory_MemFree_bytes", "MemFree_bytes", 0.6 * avail);
    field("node_memory_MemTotal_bytes", "MemTotal_bytes", total);
    field("node_memory_SwapFree_bytes", "SwapFree_bytes", 0.0);
    field("node_memory_SwapTotal_bytes", "SwapTotal_bytes", 0.0);
}

fn network(page: &mut Page, node: &Node, meter: &Meter) {
    let device = [("device", "eth0")];
    page.gauge("node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1.").put(
        &[
            ("address", &node.mac),
            ("broadcast", "ff:ff:ff:ff:ff:ff"),
            ("device", "eth0"),
            ("duplex", "full"),
            ("ifalias", ""),
            ("operstate", "up"),
        ],
        1.0,
    );
    page.counter("node_network_receive_bytes_total", "Network device statistic receive_bytes.").put(&device, meter.net_bytes);
    page.counter("node_network_receive_errs_total", "Network device statistic receive_errs.").put(&device, 0.0);
    page.counter("node_network_transmit_bytes_total", "Network device statistic transmit_bytes.").put(&device, 2.0 * meter.net_bytes);
    page.gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.").put(&device, flag(node.reachable()));
}

fn pressure(page: &mut Page, meter: &Meter) {
    let mut waiting = |name, help: &str, value| {
        page.counter(name, help).put(&[], value);
    };
    waiting(
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
        meter.cpu_waiting_seconds,
    );
    waiting(
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
        meter.io_waiting_seconds,
    );
    waiting(
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
        meter.memory_waiting_seconds,
    );
}
