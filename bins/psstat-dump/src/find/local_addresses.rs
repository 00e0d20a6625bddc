//! The addresses of a network namespace, for sockets that are bound to all of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::process_report::Files;

/// The addresses of the namespace of a process.
#[derive(Debug, Default)]
pub(super) struct LocalAddresses {
    /// Address and prefix length; `None` if unknown.
    v4: Option<Vec<(Ipv4Addr, u32)>>,
    v6: Option<Vec<Ipv6Addr>>,
}

impl LocalAddresses {
    pub(super) fn read(files: &Files) -> LocalAddresses {
        let v4 = files.read("net/fib_trie").ok();
        let v6 = files.read("net/if_inet6").ok();
        LocalAddresses {
            v4: v4.map(|text| parse_trie(&String::from_utf8_lossy(&text))),
            v6: v6.map(|text| parse_v6(&String::from_utf8_lossy(&text))),
        }
    }

    /// Whether a socket that is bound to all addresses has this one. If the addresses are unknown,
    /// as in a capture, it has.
    pub(super) fn contain(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.as_ref().is_none_or(|networks| {
                networks.iter().any(|(network, length)| {
                    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                    (network.to_bits() ^ ip.to_bits()) & mask == 0
                })
            }),
            IpAddr::V6(ip) => self.v6.as_ref().is_none_or(|addresses| addresses.contains(&ip)),
        }
    }
}

/// The local networks in `fib_trie`: a line `|-- ADDRESS`, followed by lines `/LENGTH host LOCAL`.
fn parse_trie(text: &str) -> Vec<(Ipv4Addr, u32)> {
    let mut networks = Vec::new();
    let mut address = None;
    for line in text.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse().ok();
        } else if let Some(length) = line.strip_suffix(" host LOCAL")
            && let Some(length) = length.strip_prefix('/').and_then(|text| text.parse().ok())
            && let Some(address) = address.filter(|_| length <= 32)
        {
            networks.push((address, length));
        }
    }
    networks
}

/// The addresses in `if_inet6`: 32 hexadecimal digits at the start of each line.
fn parse_v6(text: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| u128::from_str_radix(line.get(..32)?, 16).ok();
    text.lines().filter_map(address).map(Ipv6Addr::from_bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 6\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.5\n        /32 host LOCAL\n\
            \x20    |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.0\n        \
            /8 host LOCAL\n";
        let v6 = "00000000000000000000000000000001 01 80 10 80       lo\nshort\n";
        let all = LocalAddresses { v4: Some(parse_trie(trie)), v6: Some(parse_v6(v6)) };
        for (ip, want) in [
            ("10.0.0.5", true),
            ("10.0.0.6", false),
            ("10.0.0.255", false),
            ("127.3.2.1", true),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(all.contain(ip.parse().unwrap()), want, "{ip}");
        }
        assert!(LocalAddresses::default().contain("1.2.3.4".parse().unwrap()), "unknown");
    }
}
