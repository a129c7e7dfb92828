//! smartctl_exporter: each disk's own account of itself.
//!
//! A dead disk is gone from the page, as it is from the bus. Deliberately absent: NVMe. An editor breaks this by showing a disk's
//! future: only what the drive's firmware counts stands here.

use super::flag;
use crate::page::Page;
use homeostat_sim::plant::{Disk, Node};

pub(crate) const MODEL: &str = "HD-8T";
/// How much warmer than the room a disk is (assumed), in kelvin.
const DISK_KELVIN: f64 = 13.0;

pub(crate) fn serial(node: &Node, disk: &Disk) -> String {
    format!("{}-{}", node.name, disk.name)
}

struct Attribute {
    id: &'static str,
    name: &'static str,
    short: &'static str,
    long: &'static str,
    thresh: f64,
    raw: f64,
    value: f64,
}

fn celsius(node: &Node) -> f64 {
    (homeostat_sim::numbers::ROOM_CELSIUS + DISK_KELVIN + 0.1 * (node.celsius - homeostat_sim::numbers::ROOM_CELSIUS)).round()
}

fn attributes(node: &Node, disk: &Disk) -> [Attribute; 8] {
    let hours = (disk.powered_seconds / 3600.0).floor();
    let (count, rate) = ("event_count,auto_keep", "prefailure,updated_online,event_count,auto_keep");
    let attribute = |id, name, short, long, thresh, raw: f64, value: f64| Attribute { id, name, short, long, thresh, raw, value };
    // A normalised value falls from 100 by one per bad sector, as makers like it; two temperatures are packed above the lowest byte.
    let worn = |raw: f64| (100.0 - raw).max(1.0);
    let packed = celsius(node) + 20.0 * 65536.0 + 45.0 * 4_294_967_296.0;
    [
        attribute("5", "Reallocated_Sector_Ct", "PO--CK", rate, 90.0, disk.reallocated, worn(disk.reallocated)),
        attribute(
            "9",
            "Power_On_Hours",
            "-O--CK",
            "updated_online,event_count,auto_keep",
            0.0,
            hours,
            (100.0 - hours / 1000.0).max(1.0).floor(),
        ),
        attribute("12", "Power_Cycle_Count", "-O--CK", "updated_online,event_count,auto_keep", 0.0, disk.power_cycles, 100.0),
        attribute("187", "Reported_Uncorrect", "-O--CK", "updated_online,event_count,auto_keep", 0.0, disk.reported, worn(disk.reported)),
        attribute("194", "Temperature_Celsius", "-O---K", "updated_online,auto_keep", 0.0, packed, celsius(node)),
        attribute("197", "Current_Pending_Sector", "-O--CK", "updated_online,event_count,auto_keep", 0.0, disk.pending, worn(disk.pending)),
        attribute("198", "Offline_Uncorrectable", "----CK", count, 0.0, 0.0, 100.0),
        attribute("199", "UDMA_CRC_Error_Count", "-O--CK", "updated_online,event_count,auto_keep", 0.0, 0.0, 200.0),
    ]
}

pub(crate) fn render(node: &Node) -> String {
    let disks: Vec<&Disk> = node.disks.iter().filter(|disk| !disk.dead).collect();
    let mut page = Page::default();
    page.gauge("smartctl_version", "smartctl version").put(
        &[("build_info", "(local build)"), ("json_format_version", "1.0"), ("smartctl_version", "7.3"), ("svn_revision", "5338")],
        1.0,
    );
    page.gauge("smartctl_devices", "Number of devices configured or dynamically discovered").put(&[], disks.len() as f64);
    if disks.is_empty() {
        return page.finish();
    }
    page.gauge("smartctl_device", "Device info");
    for disk in &disks {
        let serial = serial(node, disk);
        let labels = [
            ("ata_additional_product_id", "unknown"),
            ("ata_version", "ACS-3 T13/2161-D revision 5"),
            ("device", disk.name.as_str()),
            ("firmware_version", "0103"),
            ("form_factor", "3.5 inches"),
            ("interface", "sat"),
            ("model_family", ""),
            ("model_name", MODEL),
            ("protocol", "ATA"),
            ("sata_version", "SATA 3.3"),
            ("serial_number", &serial),
        ];
        page.put(&labels, 1.0);
    }
    page.gauge("smartctl_device_attribute", "Device attributes");
    for disk in &disks {
        for attribute in attributes(node, disk) {
            one_attribute(&mut page, disk, &attribute);
        }
    }
    gauges(&mut page, node, &disks);
    page.finish()
}

fn one_attribute(page: &mut Page, disk: &Disk, attribute: &Attribute) {
    for (kind, value) in [("raw", attribute.raw), ("thresh", attribute.thresh), ("value", attribute.value), ("worst", attribute.value)] {
        let labels = [
            ("attribute_flags_long", attribute.long),
            ("attribute_flags_short", attribute.short),
            ("attribute_id", attribute.id),
            ("attribute_name", attribute.name),
            ("attribute_value_type", kind),
            ("device", disk.name.as_str()),
        ];
        page.put(&labels, value);
    }
}

fn gauges(page: &mut Page, node: &Node, disks: &[&Disk]) {
    let mut each = |name, kind, help: &str, value: &dyn Fn(&Disk) -> f64| {
        page.family(name, kind, help);
        for disk in disks {
            page.put(&[("device", &disk.name)], value(disk));
        }
    };
    each("smartctl_device_capacity_bytes", "gauge", "Device capacity in bytes", &|disk| disk.size_bytes);
    each("smartctl_device_power_cycle_count", "counter", "Device power cycle count", &|disk| disk.power_cycles);
    each("smartctl_device_power_on_seconds", "counter", "Device power on seconds", &|disk| disk.powered_seconds.floor());
    each("smartctl_device_rotation_rate", "gauge", "Device rotation rate", &|_| 7200.0);
    each("smartctl_device_smart_status", "gauge", "General smart status", &|disk| flag(disk.passed));
    // Bit 3 of smartctl's exit status: the disk says that it is failing.
    each("smartctl_device_smartctl_exit_status", "gauge", "Exit status of smartctl on device", &|disk| 8.0 * flag(!disk.passed));
    page.gauge("smartctl_device_temperature", "Device temperature celsius");
    for disk in disks {
        page.put(&[("device", &disk.name), ("temperature_type", "current")], celsius(node));
    }
}
