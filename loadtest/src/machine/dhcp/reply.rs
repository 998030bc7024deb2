//! What DHCP servers answer, as firmware reads it.

use std::net::Ipv4Addr;

use super::message::COOKIE;

/// OFFER, ACK and NAK (option 53).
pub(super) const OFFER: u8 = 2;
pub(super) const ACK: u8 = 5;
pub(super) const NAK: u8 = 6;

/// A DHCP server's message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) xid: u32,
    /// Option 53.
    pub(super) kind: u8,
    pub(super) yiaddr: Option<Ipv4Addr>,
    pub(super) siaddr: Option<Ipv4Addr>,
    /// Option 54.
    pub(super) server: Option<Ipv4Addr>,
    /// Option 60.
    pub(super) class: Vec<u8>,
    /// Option 97.
    pub(super) guid: Vec<u8>,
    /// Option 67, and what the header's field says.
    pub(super) names: [String; 2],
    /// Option 252.
    store: String,
    /// Option 43.
    pub(super) vendor: Vendor,
    /// The codes of all options, a bit for each.
    codes: [u64; 4],
}

/// Option 43 (PXE 2.1, table 2-2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vendor {
    /// Sub-option 6: bit 3 says that the boot file in the packet is to be used.
    pub(super) control: u8,
    /// Some sub-option of boot server discovery is there.
    pub(super) discovers: bool,
    /// The first item of the menu (sub-option 9).
    pub(super) menu: Option<u16>,
    /// The first server of each type (sub-option 8).
    pub(super) servers: Vec<(u16, Ipv4Addr)>,
    /// The item that is answered (sub-option 71).
    pub(super) item: Option<u16>,
}

impl Reply {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let Some((header, options)) = bytes.split_at_checked(240) else {
            return Err("shorter than a BOOTP header with its cookie");
        };
        if header[0] != 2 {
            return Err("it is no BOOTREPLY");
        }
        if header[236..] != COOKIE {
            return Err("the options' cookie is not 99.130.83.99");
        }
        let mut collected = Collected::default();
        collected.read(options)?;
        let overload = collected.overload;
        if overload & 1 != 0 {
            collected.read(&header[108..236])?;
        }
        if overload & 2 != 0 {
            collected.read(&header[44..108])?;
        }
        let field = if overload & 1 != 0 {
            &[][..]
        } else {
            &header[108..236]
        };
        Ok(Self {
            xid: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            kind: collected.kind,
            yiaddr: address(&header[16..20]),
            siaddr: address(&header[20..24]),
            server: address(&collected.server),
            names: [text(&collected.file), text(field)],
            store: text(&collected.store),
            vendor: Vendor::parse(&collected.vendor),
            class: collected.class,
            guid: collected.guid,
            codes: collected.codes,
        })
    }

    /// The boot file: option 67, or the header's field.
    pub(super) fn file(&self) -> Option<&str> {
        let mut names = self.names.iter().map(String::as_str);
        names.find(|name| !name.is_empty())
    }

    /// Where Windows' boot store is.
    pub(super) fn store(&self) -> Option<String> {
        (!self.store.is_empty()).then(|| self.store.clone())
    }

    /// Whether option 60 begins with this.
    pub(super) fn has_class(&self, class: &str) -> bool {
        self.class.starts_with(class.as_bytes())
    }

    /// The options that it carries, but for 0 and 255.
    pub(super) fn codes(&self) -> impl Iterator<Item = u8> {
        let codes = self.codes;
        (1..255_u8).filter(move |code| codes[usize::from(code / 64)] & (1 << (code % 64)) != 0)
    }
}

/// The options that matter; parts of one option are joined (RFC 3396).
#[derive(Default)]
struct Collected {
    kind: u8,
    overload: u8,
    server: Vec<u8>,
    class: Vec<u8>,
    guid: Vec<u8>,
    file: Vec<u8>,
    vendor: Vec<u8>,
    store: Vec<u8>,
    codes: [u64; 4],
}

impl Collected {
    fn read(&mut self, mut rest: &[u8]) -> Result<(), &'static str> {
        loop {
            rest = match rest {
                [] | [255, ..] => return Ok(()),
                [0, tail @ ..] => tail,
                [_] => return Err("an option without its length"),
                [code, length, tail @ ..] => {
                    let Some((data, tail)) = tail.split_at_checked(usize::from(*length)) else {
                        return Err("an option that goes beyond the end of the packet");
                    };
                    self.take(*code, data);
                    tail
                }
            };
        }
    }

    fn take(&mut self, code: u8, data: &[u8]) {
        self.codes[usize::from(code / 64)] |= 1 << (code % 64);
        let first = data.first().copied().unwrap_or(0);
        match code {
            43 => self.vendor.extend_from_slice(data),
            52 => self.overload = first,
            53 => self.kind = first,
            54 => self.server.extend_from_slice(data),
            60 => self.class.extend_from_slice(data),
            67 => self.file.extend_from_slice(data),
            97 => self.guid.extend_from_slice(data),
            252 => self.store.extend_from_slice(data),
            _ => {}
        }
    }
}

impl Vendor {
    fn parse(mut rest: &[u8]) -> Self {
        let mut vendor = Self::default();
        while let [code, length, tail @ ..] = rest {
            let end = usize::from(*length);
            // What is cut off is no sub-option: firmware stops here.
            let (true, Some((data, tail))) = (*code != 255, tail.split_at_checked(end)) else {
                break;
            };
            vendor.discovers |= matches!(code, 6..=10 | 71);
            match (code, data) {
                (6, [control, ..]) => vendor.control = *control,
                (8, servers) => vendor.servers = boot_servers(servers),
                (9, [high, low, ..]) => vendor.menu = Some(u16::from_be_bytes([*high, *low])),
                (71, [high, low, ..]) => vendor.item = Some(u16::from_be_bytes([*high, *low])),
                _ => {}
            }
            rest = tail;
        }
        vendor
    }

    /// Whether the boot file of this packet is to be used without further questions.
    pub(super) const fn uses_file(&self) -> bool {
        self.control & 8 != 0
    }
}

fn boot_servers(mut rest: &[u8]) -> Vec<(u16, Ipv4Addr)> {
    let mut servers = Vec::new();
    while let [high, low, count, tail @ ..] = rest {
        let Some((addresses, tail)) = tail.split_at_checked(usize::from(*count) * 4) else {
            break;
        };
        if let Some(first) = addresses.get(..4).and_then(address) {
            servers.push((u16::from_be_bytes([*high, *low]), first));
        }
        rest = tail;
    }
    servers
}

/// `None` for 0.0.0.0 and what has not four bytes.
fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    let bytes: [u8; 4] = bytes.try_into().ok()?;
    let address = Ipv4Addr::from(bytes);
    (!address.is_unspecified()).then_some(address)
}

/// Up to the first NUL; what is no UTF-8 is no name that any server has.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = &bytes[..end.unwrap_or(bytes.len())];
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 236];
        packet[0] = 2;
        packet.extend(COOKIE);
        packet.extend(options);
        packet
    }

    #[test]
    fn parts_of_an_option_are_joined_and_overloaded_fields_are_read() {
        let mut bytes = packet(&[53, 1, 2, 67, 2, b'a', b'b', 52, 1, 1, 67, 2, b'c', 0, 255]);
        bytes[108..118].copy_from_slice(b"\x3c\x03PXE\x36\x02\x0a\0\xff");
        let reply = Reply::parse(&bytes).unwrap();
        assert_eq!(reply.file(), Some("abc"));
        assert_eq!(reply.class, b"PXE");
        assert_eq!(reply.server, None, "two bytes are no address");
        assert_eq!(reply.codes().collect::<Vec<_>>(), [52, 53, 54, 60, 67]);
    }

    #[test]
    fn option_43_is_read_as_far_as_it_is_whole() {
        let vendor = Vendor::parse(
            b"\x06\x01\x03\x0a\x04\0PXE\x08\x07\x80\x02\x01\x0a\x63\0\x02\
            \x09\x09\x80\x02\x06iPXE A\xff",
        );
        assert_eq!(vendor.menu, Some(0x8002));
        assert_eq!(vendor.servers, [(0x8002, Ipv4Addr::new(10, 99, 0, 2))]);
        assert!(vendor.discovers && !vendor.uses_file());
        assert!(Vendor::parse(b"\x06\x01\x08\xff").uses_file());
        assert_eq!(Vendor::parse(b"\x06\x09\x08"), Vendor::default());
    }

    #[test]
    fn what_is_broken_is_said() {
        for (bytes, why) in [
            (vec![2; 239], "shorter"),
            (vec![2; 300], "cookie"),
            (packet(&[53, 1, 2, 60, 200, 1]), "beyond"),
            (packet(&[53]), "length"),
        ] {
            let error = Reply::parse(&bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let mut request = packet(&[255]);
        request[0] = 1;
        assert!(Reply::parse(&request).unwrap_err().contains("BOOTREPLY"));
    }

    proptest! {
        #[test]
        fn nothing_that_servers_send_panics(
            options in proptest::collection::vec(any::<u8>(), 0..600),
            file in proptest::collection::vec(any::<u8>(), 128),
        ) {
            let mut bytes = packet(&options);
            bytes[108..236].copy_from_slice(&file);
            let _ = Reply::parse(&bytes);
            let _ = Reply::parse(&options);
        }
    }
}
