//! One machine's energy as each generation of Kepler shows it: for tests.
//!
//! Deliberately absent: anything a test asserts. An editor breaks this by letting the two pages tell of two machines.

/// One machine, as Kepler before 0.10 shows it `seconds` after the start: package 30 W in two modes, dram 4 W, pod 8 W.
pub(crate) fn old_kepler(seconds: f64) -> String {
    let at = |base: f64, watts: f64| base + watts * seconds;
    format!(
        r#"kepler_exporter_build_info{{version="v0.7.12"}} 1
kepler_node_package_joules_total{{instance="brain",mode="dynamic",package="0",source="rapl-sysfs"}} {}
kepler_node_package_joules_total{{instance="brain",mode="idle",package="0",source="rapl-sysfs"}} {}
kepler_node_core_joules_total{{instance="brain",mode="dynamic",package="0",source="rapl-sysfs"}} {}
kepler_node_dram_joules_total{{instance="brain",mode="dynamic",package="0",source="rapl-sysfs"}} {}
kepler_node_platform_joules_total{{instance="brain",mode="dynamic",package="sensor0",source="acpi"}} {}
kepler_container_joules_total{{container_id="c0ffee",container_name="ollama",container_namespace="ai",mode="dynamic",pod_name="ollama-0",source=""}} {}
kepler_container_package_joules_total{{container_id="c0ffee",container_name="ollama",container_namespace="ai",mode="dynamic",pod_name="ollama-0",source="rapl-sysfs"}} {}
"#,
        at(9000.0, 12.0),
        at(8000.0, 18.0),
        at(5000.0, 15.0),
        at(2000.0, 4.0),
        at(30000.0, 55.0),
        at(4900.0, 9.0),
        at(4000.0, 8.0),
    )
}

/// The same machine as Kepler since 0.10 shows it.
pub(crate) fn new_kepler(seconds: f64) -> String {
    let at = |base: f64, watts: f64| base + watts * seconds;
    let zone = |zone: &str, base: f64, watts: f64| {
        format!(
            "kepler_node_cpu_joules_total{{node_name=\"brain\",path=\"/sys/{zone}\",zone=\"{zone}\"}} {}\nkepler_node_cpu_watts{{node_name=\"brain\",path=\"/sys/{zone}\",zone=\"{zone}\"}} {watts}\n",
            at(base, watts)
        )
    };
    format!(
        r#"kepler_build_info{{version="v0.11.4"}} 1
{}{}{}kepler_node_cpu_active_watts{{node_name="brain",path="/sys/package",zone="package"}} 12
kepler_platform_watts{{node_name="brain",source="redfish",source_type="PowerSupply",source_id="PS1"}} 55
kepler_container_cpu_watts{{container_id="c0ffee",container_name="ollama",node_name="brain",pod_id="0f3d",runtime="containerd",state="running",zone="package"}} 8
kepler_pod_cpu_watts{{node_name="brain",pod_id="0f3d",pod_name="ollama-0",pod_namespace="ai",state="running",zone="package"}} 8
kepler_pod_cpu_watts{{node_name="brain",pod_id="77aa",pod_name="gone",pod_namespace="ai",state="terminated",zone="package"}} 0
kepler_pod_cpu_joules_total{{node_name="brain",pod_id="0f3d",pod_name="ollama-0",pod_namespace="ai",state="running",zone="package"}} {}
"#,
        zone("package", 17000.0, 30.0),
        zone("core", 5000.0, 15.0),
        zone("dram", 2000.0, 4.0),
        at(4000.0, 8.0),
    )
}
