//! blackbox_exporter's `/probe`: services by HTTP, certificates by TLS, nodes by ping.
//!
//! A failed probe is a page too (200 with `probe_success 0`); a certificate's expiry stands there only where a handshake was made: not
//! when the probe failed, and one that has expired is refused. Deliberately absent: names that are not in the lab (they do not
//! resolve). An editor breaks this by answering an unknown module with a page.

use super::flag;
use crate::page::Page;
use homeostat_sim::plant::Plant;

/// The modules of blackbox's own example configuration that mean something here.
const MODULES: [&str; 4] = ["http_2xx", "tcp_connect", "tcp_tls", "icmp"];

/// What came of a probe.
struct Found {
    success: bool,
    seconds: f64,
    status: f64,
    /// Of the certificate that was shown, in Unix seconds.
    expires: Option<f64>,
}

/// The page for `?target=&module=`.
///
/// # Errors
/// blackbox's words, for a 400.
pub(crate) fn render(plant: &Plant, target: Option<&str>, module: Option<&str>) -> Result<String, String> {
    let module = module.unwrap_or("http_2xx");
    if !MODULES.contains(&module) {
        return Err(format!("Unknown module \"{module}\""));
    }
    let Some(target) = target.filter(|target| !target.is_empty()) else { return Err("Target parameter is missing".into()) };
    let found = look(plant, host(target), module);
    let mut page = Page::default();
    let resolved = found.is_some();
    let found = found.unwrap_or(Found { success: false, seconds: 0.002, status: 0.0, expires: None });
    page.gauge("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds").put(&[], 0.0003);
    page.gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds").put(&[], found.seconds);
    if module == "http_2xx" {
        http(&mut page, &found);
    }
    if module == "icmp" {
        page.gauge("probe_icmp_duration_seconds", "Duration of icmp request by phase");
        for (phase, seconds) in [("resolve", 0.0003), ("rtt", if found.success { 0.0004 } else { 0.0 }), ("setup", 0.0001)] {
            page.put(&[("phase", phase)], seconds);
        }
    }
    page.gauge("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6").put(&[], if resolved { 4.0 } else { 0.0 });
    if let Some(expires) = found.expires {
        page.gauge("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime").put(&[], expires);
    }
    page.gauge("probe_success", "Displays whether or not the probe was a success").put(&[], flag(found.success));
    Ok(page.finish())
}

fn http(page: &mut Page, found: &Found) {
    page.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex").put(&[], 0.0);
    page.gauge("probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects");
    let served = if found.status > 0.0 { found.seconds } else { 0.0 };
    for (phase, share) in [("connect", 0.02), ("processing", 0.93), ("resolve", 0.01), ("tls", 0.0), ("transfer", 0.04)] {
        page.put(&[("phase", phase)], share * served);
    }
    page.gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect").put(&[], flag(found.expires.is_some()));
    page.gauge("probe_http_status_code", "Response HTTP status code").put(&[], found.status);
}

/// `https://home.lab:443/x` and `home.lab:443` are `home.lab`.
fn host(target: &str) -> &str {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// Looks for a certificate, a service, or a node of that name, as a resolver would.
fn look(plant: &Plant, host: &str, module: &str) -> Option<Found> {
    if module == "icmp" {
        let node = plant.node(host)?;
        return Some(Found { success: node.answers(), seconds: if node.answers() { 0.001 } else { 5.0 }, status: 0.0, expires: None });
    }
    if let Some(certificate) = plant.certificates.iter().find(|certificate| certificate.name == host) {
        let valid = certificate.expires > plant.now();
        let expires = (valid && module != "tcp_connect").then(|| certificate.expires.seconds());
        return Some(Found { success: valid || module == "tcp_connect", seconds: 0.01, status: if valid { 200.0 } else { 0.0 }, expires });
    }
    // `web`, and as the cluster's resolver has it: `web.home`, `web.home.svc.cluster.local`.
    let service = plant.services.iter().find(|service| {
        let rest = host.strip_prefix(service.spec.name.as_str());
        let namespace = rest.and_then(|rest| rest.strip_prefix('.')).map(|rest| rest.strip_suffix(".svc.cluster.local").unwrap_or(rest));
        rest == Some("") || namespace == Some(service.spec.namespace.as_str())
    })?;
    let status = if service.up { 200.0 } else { 0.0 };
    Some(Found { success: service.up, seconds: service.latency_seconds, status, expires: None })
}
