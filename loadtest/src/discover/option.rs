//! DHCP options by name, with their values in words.

use std::net::Ipv4Addr;

use bootstorm_proto::types::{ClientArch, MachineGuid};

/// How an option's value is written.
#[derive(Clone, Copy, Debug)]
enum Form {
    Addresses,
    Text,
    Number,
    Seconds,
    Kind,
    Archs,
    Interface,
    Guid,
    Pxe,
    Names,
    Hex,
}

use Form::{Addresses, Archs, Guid, Hex, Interface, Kind, Names, Number, Pxe, Seconds, Text};

/// Those that boot servers and DHCP servers send (RFC 2132, 3046, 3397, 3442, 4578; 210 and on from
/// RFC 5071; 250 and on as Windows' servers use them).
const OPTIONS: [(u8, &str, Form); 51] = [
    (1, "subnet mask", Addresses),
    (2, "time offset", Number),
    (3, "routers", Addresses),
    (6, "name servers", Addresses),
    (7, "log servers", Addresses),
    (12, "host name", Text),
    (13, "boot file size", Number),
    (15, "domain name", Text),
    (17, "root path", Text),
    (26, "MTU", Number),
    (28, "broadcast address", Addresses),
    (42, "time servers", Addresses),
    (43, "vendor options", Pxe),
    (44, "NetBIOS name servers", Addresses),
    (46, "NetBIOS node type", Number),
    (50, "requested address", Addresses),
    (51, "lease time", Seconds),
    (52, "overload", Number),
    (53, "message type", Kind),
    (54, "server identifier", Addresses),
    (55, "parameter list", Hex),
    (56, "message", Text),
    (57, "largest message", Number),
    (58, "renewal time", Seconds),
    (59, "rebinding time", Seconds),
    (60, "class", Text),
    (61, "client identifier", Hex),
    (66, "TFTP server", Text),
    (67, "boot file", Text),
    (77, "user class", Text),
    (81, "client's name", Hex),
    (82, "relay agent", Hex),
    (93, "architectures", Archs),
    (94, "interface", Interface),
    (97, "machine identifier", Guid),
    (100, "POSIX time zone", Text),
    (101, "name of the time zone", Text),
    (119, "search list", Names),
    (121, "static routes", Hex),
    (128, "PXE 128", Text),
    (129, "PXE 129", Text),
    (150, "TFTP servers", Addresses),
    (175, "iPXE's options", Hex),
    (208, "PXELINUX magic", Hex),
    (209, "configuration file", Text),
    (210, "path prefix", Text),
    (211, "reboot time", Seconds),
    (249, "static routes of Windows", Hex),
    (250, "WDS options", Hex),
    (252, "boot configuration or proxy", Text),
    (255, "end", Hex),
];

/// Its name; options without one of their own have none.
pub(super) fn name(code: u8) -> &'static str {
    let found = OPTIONS.iter().find(|(known, ..)| *known == code);
    found.map_or("unknown", |(_, name, _)| name)
}

/// Its value in words, in hexadecimal digits where it is not what it should be.
pub(super) fn value(code: u8, value: &[u8]) -> String {
    let found = OPTIONS.iter().find(|(known, ..)| *known == code);
    let form = found.map_or(Hex, |(.., form)| *form);
    let told = match form {
        Addresses => addresses(value),
        Text => text(value),
        Number => number(value).map(|number| number.to_string()),
        Seconds => number(value).map(seconds),
        Kind => kind(value).map(str::to_owned),
        Archs => archs(value),
        Interface => interface(value),
        Guid => guid(value),
        Pxe => pxe(value),
        Names => names(value),
        Hex => None,
    };
    told.unwrap_or_else(|| hex(value))
}

/// The message type's name (option 53).
pub(super) fn kind(value: &[u8]) -> Option<&'static str> {
    const KINDS: [&str; 8] = [
        "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM",
    ];
    let [kind] = value else { return None };
    KINDS.get(usize::from(*kind).checked_sub(1)?).copied()
}

/// Text, with what could move a terminal's cursor escaped; none where it is no text. A zero at its
/// end is the habit of many servers, and no part of it.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let end = value
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&value[..end]).ok()?;
    Some(text.escape_debug().to_string())
}

fn addresses(value: &[u8]) -> Option<String> {
    let (addresses, rest) = value.as_chunks::<4>();
    let shown: Vec<_> = addresses
        .iter()
        .map(|a| Ipv4Addr::from(*a).to_string())
        .collect();
    (rest.is_empty() && !shown.is_empty()).then(|| shown.join(", "))
}

fn number(value: &[u8]) -> Option<u32> {
    match *value {
        [a] => Some(a.into()),
        [a, b] => Some(u16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

fn seconds(number: u32) -> String {
    match number {
        u32::MAX => "for ever".to_owned(),
        _ => format!("{number} s"),
    }
}

fn archs(value: &[u8]) -> Option<String> {
    let (archs, rest) = value.as_chunks::<2>();
    let shown: Vec<_> = archs
        .iter()
        .map(|arch| ClientArch(u16::from_be_bytes(*arch)).to_string())
        .collect();
    (rest.is_empty() && !shown.is_empty()).then(|| shown.join(", "))
}

fn interface(value: &[u8]) -> Option<String> {
    let [kind, major, minor] = value else {
        return None;
    };
    let kind = match kind {
        1 => "UNDI",
        _ => return None,
    };
    Some(format!("{kind} {major}.{minor}"))
}

fn guid(value: &[u8]) -> Option<String> {
    let guid = value.strip_prefix(&[0])?;
    Some(MachineGuid::from_wire(guid.try_into().ok()?).to_string())
}

/// Sub-options of PXE (specification 2.1, table 2-1).
fn pxe(value: &[u8]) -> Option<String> {
    let (mut shown, mut rest) = (Vec::new(), value);
    while let [code, behind @ ..] = rest {
        match (*code, behind) {
            (0, _) => rest = behind,
            (255, _) => break,
            (code, [length, behind @ ..]) => {
                let (value, behind) = behind.split_at_checked(usize::from(*length))?;
                shown.push(sub_option(code, value));
                rest = behind;
            }
            (_, []) => return None,
        }
    }
    (!shown.is_empty()).then(|| shown.join("; "))
}

fn sub_option(code: u8, value: &[u8]) -> String {
    let name = match code {
        1 => "multicast address",
        2 => "multicast client port",
        3 => "multicast server port",
        4 => "multicast time-out",
        5 => "multicast delay",
        6 => "discovery control",
        7 => "discovery multicast address",
        8 => "boot servers",
        9 => "boot menu",
        10 => "menu prompt",
        71 => "boot item",
        _ => "unknown",
    };
    let told = match (code, value) {
        (1 | 7, value) => addresses(value),
        (6, [control]) => Some(discovery(*control)),
        (10, [seconds, prompt @ ..]) => text(prompt).map(|prompt| match seconds {
            0 => format!("{prompt:?} at once"),
            255 => format!("{prompt:?}, waits"),
            _ => format!("{prompt:?}, {seconds} s"),
        }),
        _ => None,
    };
    format!("{code} {name} {}", told.unwrap_or_else(|| hex(value)))
}

/// The bits of sub-option 6.
fn discovery(control: u8) -> String {
    const BITS: [&str; 4] = [
        "no broadcast",
        "no multicast",
        "only servers of the list",
        "boot file at once",
    ];
    let set: Vec<_> = (0..)
        .zip(BITS)
        .filter_map(|(bit, meaning)| (control >> bit & 1 == 1).then_some(meaning))
        .collect();
    format!("{control} ({})", set.join(", "))
}

/// Domain names one behind the other, without pointers (RFC 1035 section 3.1).
fn names(value: &[u8]) -> Option<String> {
    let (mut names, mut labels, mut rest) = (Vec::new(), Vec::new(), value);
    while let [length, behind @ ..] = rest {
        if *length == 0 {
            names.push(labels.join("."));
            labels.clear();
            rest = behind;
            continue;
        }
        let (label, behind) = behind.split_at_checked(usize::from(*length))?;
        labels.push(text(label)?);
        rest = behind;
    }
    (labels.is_empty() && !names.is_empty()).then(|| names.join(", "))
}

fn hex(value: &[u8]) -> String {
    let shown: Vec<_> = value.iter().map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_in_words() {
        for (code, bytes, told) in [
            (1, &[255, 255, 248, 0][..], "255.255.248.0"),
            (6, &[10, 0, 0, 1, 10, 0, 0, 2], "10.0.0.1, 10.0.0.2"),
            (26, &[5, 220], "1500"),
            (51, &[0, 0, 14, 16], "3600 s"),
            (51, &[255; 4], "for ever"),
            (53, &[2], "OFFER"),
            (60, b"PXEClient", "PXEClient"),
            (67, b"a\x1b[2J\0", "a\\u{1b}[2J"),
            (93, &[0, 7], "x64 UEFI (7)"),
            (94, &[1, 3, 16], "UNDI 3.16"),
            (119, b"\x02ab\x01c\0\x01d\0", "ab.c, d"),
            (
                43,
                &[6, 1, 8, 255],
                "6 discovery control 8 (boot file at once)",
            ),
            (43, b"\x0a\x04\0Go!\xff", "10 menu prompt \"Go!\" at once"),
            (224, &[1, 0xab], "01 ab"),
        ] {
            assert_eq!(value(code, bytes), told, "option {code}");
        }
        assert_eq!(name(54), "server identifier");
        assert_eq!(name(224), "unknown");
    }

    #[test]
    fn what_is_not_as_it_should_be_is_shown_as_it_is() {
        for (code, bytes, told) in [
            (1, &[255, 255, 0][..], "ff ff 00"),
            (1, &[], ""),
            (26, &[1, 2, 3], "01 02 03"),
            (53, &[9], "09"),
            (53, &[0], "00"),
            (60, &[0xff, 0xfe], "ff fe"),
            (93, &[0], "00"),
            (94, &[2, 1, 1], "02 01 01"),
            (97, &[0, 1], "00 01"),
            (119, &[9, 1], "09 01"),
            (119, &[1, 97], "01 61"),
            (43, &[6], "06"),
            (43, &[6, 2, 8], "06 02 08"),
        ] {
            assert_eq!(value(code, bytes), told, "option {code}");
        }
    }
}
