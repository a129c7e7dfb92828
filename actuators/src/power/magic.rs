//! The magic packet: six times FF, sixteen times the card's address, and the SecureOn password if there is one.
//!
//! Deliberately absent: sending. The layout is AMD's "Magic Packet Technology" (1995), as wiki.wireshark.org/WakeOnLAN has it.

use std::str::FromStr;

/// A network card's address.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    /// Reads six hexadecimal bytes with `:` or `-` between them.
    fn from_str(text: &str) -> Result<Mac, String> {
        let wrong = || format!("`{text}` is not a MAC address: expected six bytes such as `00:11:22:33:44:55`");
        let bytes: [u8; 6] = hex_bytes(text).and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
        // All zeros and group addresses (lowest bit of the first byte) name no single card.
        if bytes == [0; 6] || bytes[0] & 1 == 1 { Err(wrong()) } else { Ok(Mac(bytes)) }
    }
}

/// Reads a SecureOn password: six hexadecimal bytes, or four as a dotted address or hexadecimal. The error never quotes it.
pub fn parse_secure_on(text: &str) -> Result<Vec<u8>, String> {
    if let Ok(dotted) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(dotted.octets().to_vec());
    }
    hex_bytes(text)
        .filter(|bytes| matches!(bytes.len(), 4 | 6))
        .ok_or_else(|| "`secure_on` is not a SecureOn password: expected `a1:b2:c3:d4:e5:f6` or `192.168.1.10`".into())
}

/// The packet: 102 bytes, or 106 or 108 with a password of 4 or 6.
pub fn packet(mac: Mac, secure_on: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    (0..16).for_each(|_| packet.extend(mac.0));
    packet.extend(secure_on);
    packet
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let byte = |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit())).then(|| u8::from_str_radix(part, 16).ok())?;
    text.split(if text.contains('-') { '-' } else { ':' }).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "00:11:22:33:44:55";

    #[test]
    fn the_packet_has_its_three_lengths() {
        let mac = MAC.parse().unwrap();
        let plain = packet(mac, &[]);
        assert_eq!((plain.len(), &plain[..6], &plain[6..12], &plain[96..]), (102, &[0xff; 6][..], &mac.0[..], &mac.0[..]));
        assert_eq!(packet(mac, &parse_secure_on("192.168.1.10").unwrap())[102..], [192, 168, 1, 10]);
        assert_eq!(packet(mac, &parse_secure_on("a1:b2:c3:d4:e5:f6").unwrap())[102..], [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
    }

    #[test]
    fn the_packet_is_the_corpus_vector() {
        let Some(dir) = crate::conformance::corpus("acting/wol") else { return };
        let mac: Mac = MAC.parse().unwrap();
        for (password, file) in [
            ("", "magic-001122334455.bin"),
            ("192.168.1.10", "magic-001122334455-secureon4.bin"),
            ("a1:b2:c3:d4:e5:f6", "magic-001122334455-secureon6.bin"),
        ] {
            let password = if password.is_empty() { Vec::new() } else { parse_secure_on(password).unwrap() };
            assert_eq!(packet(mac, &password), std::fs::read(dir.join(file)).unwrap(), "{file}");
        }
        assert_eq!(
            "55-44-33-22-11-00".parse::<Mac>(),
            Err("`55-44-33-22-11-00` is not a MAC address: expected six bytes such as `00:11:22:33:44:55`".into()),
            "a group address"
        );
    }

    #[test]
    fn wrong_addresses_and_passwords_are_refused() {
        for text in
            ["", "00:11:22:33:44", "00:11:22:33:44:5g", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "0:11:22:33:44:55", "+0:11:22:33:44:55"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
        for text in ["", "secret-word", "aa:bb:cc", "1.2.3"] {
            let error = parse_secure_on(text).unwrap_err();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
