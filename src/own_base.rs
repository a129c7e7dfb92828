//! Finds what the engine itself stands on: its host under every name and address, the default gateway, the name servers, the hosts of
//! its sensors' servers, and the server of its storage.
//!
//! These targets are never interrupted (lesson 25). What cannot be found is left out; the configuration can add to it.

use homeostat_model::Target;
use homeostat_model::rules::OwnBase;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Everything found, each target once. `data` is the data directory.
pub fn find(servers: &[(String, String)], data: &Path) -> Vec<OwnBase> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut found: Vec<OwnBase> = Vec::new();
    let mut add = |name: &str, why: &str| {
        let target = Target::new(format!("node/{name}"));
        if !name.is_empty() && !is_loopback(name) && !found.iter().any(|base| base.target == target) {
            found.push(OwnBase { target, why: why.to_owned() });
        }
    };
    add(host.trim(), "the engine's own host");
    add(host.trim().split('.').next().unwrap_or_default(), "the engine's own host");
    for address in own_addresses(&std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default()) {
        add(&address.to_string(), "the engine's own host");
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if let Some(server) = storage_server(&mounts, data) {
        add(&server, "the server of the engine's storage");
    }
    if let Some(gateway) = gateway(&routes) {
        add(&gateway.to_string(), "the engine's default gateway");
    }
    for server in name_servers(&resolv) {
        add(server, "the engine's name server");
    }
    for (url, sensor) in servers {
        add(host_of(url), &format!("where the engine's sensor `{sensor}` reads"));
    }
    found
}

fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of a URL, without user, port and path.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// The default gateway in `/proc/net/route`: destination zero, address in host byte order as hexadecimal.
fn gateway(routes: &str) -> Option<Ipv4Addr> {
    routes.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000");
        let raw = u32::from_str_radix(fields.get(2).filter(|_| is_default)?, 16).ok()?;
        (raw != 0).then(|| Ipv4Addr::from(raw.swap_bytes()))
    })
}

/// This host's IPv4 addresses: in `/proc/net/fib_trie` an address stands in the line before its `/32 host LOCAL`.
fn own_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let mut last = None;
    let mut found = Vec::new();
    for line in trie.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.contains("host LOCAL")
            && let Some(address) = last
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// The server of the mount that holds `data`, for network filesystems: `nas:/export` (NFS) or `//nas/share` (SMB).
fn storage_server(mounts: &str, data: &Path) -> Option<String> {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let fields =
        mounts.lines().filter_map(|line| line.split_once(' ')).filter_map(|(source, rest)| Some((source, rest.split(' ').next()?)));
    let (source, _) = fields.filter(|(_, at)| data.starts_with(at)).max_by_key(|(_, at)| at.len())?;
    if let Some(share) = source.strip_prefix("//") {
        return share.split('/').next().map(str::to_owned);
    }
    source.split_once(":/").map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
}

fn name_servers(resolv: &str) -> impl Iterator<Item = &str> {
    resolv.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_out_of_urls() {
        for (url, host) in
            [("http://nas:9090/x", "nas"), ("https://u:p@prom.lan/", "prom.lan"), ("http://[fd00::1]:9090", "fd00::1"), ("nas:9100", "nas")]
        {
            assert_eq!(host_of(url), host, "{url}");
        }
    }

    #[test]
    fn the_default_gateway_is_read_from_the_route_table() {
        let table = "Iface Destination Gateway Flags\neth0 0001A8C0 00000000 0001\neth0 00000000 0101A8C0 0003\n";
        assert_eq!(gateway(table), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(gateway("Iface Destination Gateway\n"), None);
    }

    #[test]
    fn loopback_is_nobodys_base_and_each_target_stands_once() {
        let found = find(
            &[("http://127.0.0.1:9090".into(), "a".into()), ("http://prom:1".into(), "b".into()), ("http://prom:2".into(), "c".into())],
            Path::new("/"),
        );
        let prom: Vec<_> = found.iter().filter(|base| base.target.as_str() == "node/prom").collect();
        assert_eq!(prom.len(), 1);
        assert!(!found.iter().any(|base| base.target.as_str().contains("127.0.0.1")));
    }

    #[test]
    fn own_addresses_and_the_storage_server_are_found() {
        let trie = "Main:\n  +-- 0.0.0.0/0\n     |-- 192.168.1.0\n        /24 link UNICAST\n     |-- 192.168.1.7\n        /32 host LOCAL\n";
        assert_eq!(own_addresses(trie), [Ipv4Addr::new(192, 168, 1, 7)]);
        let mounts = "/dev/sda1 / ext4 rw 0 0\nnas:/export /srv nfs4 rw 0 0\n//box/share /mnt cifs rw 0 0\n";
        assert_eq!(storage_server(mounts, Path::new("/srv/homeostat")).as_deref(), Some("nas"));
        assert_eq!(storage_server(mounts, Path::new("/mnt/x")).as_deref(), Some("box"));
        assert_eq!(storage_server(mounts, Path::new("/home")), None);
    }
}
