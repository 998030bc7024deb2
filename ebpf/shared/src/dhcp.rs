//! DHCPv4 by its header and the few options that tell who asks (RFC 2131, section 2).

use crate::class::{Broken, Class, Family};

const HEADER_LEN: usize = 240;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];

pub(crate) fn classify(payload: &[u8]) -> Class {
    match sort(payload) {
        Ok(class) => class,
        Err(broken) => Class::Malformed(broken),
    }
}

/// The order of the checks is that of the parser: a packet with two faults has one reason.
fn sort(payload: &[u8]) -> Result<Class, Broken> {
    let Some((header, options)) = payload.split_first_chunk::<HEADER_LEN>() else {
        return Err(Broken::Short);
    };
    let [op, _, hlen, hops, ..] = *header;
    if !header.ends_with(&COOKIE) {
        return Err(Broken::BadCookie);
    }
    if hlen > 16 {
        return Err(Broken::HardwareLength);
    }
    if op != 1 {
        return Ok(Class::NotOurs);
    }
    if hops >= 16 {
        return Err(Broken::Hops);
    }
    if header.get(24..28).is_some_and(is_no_relay) {
        return Err(Broken::BadRelay);
    }
    let mut found = Found::default();
    found.area(options)?;
    let overload = found.overload;
    if matches!(overload, 1 | 3) {
        found.area(header.get(108..236).unwrap_or_default())?;
    }
    if matches!(overload, 2 | 3) {
        found.area(header.get(44..108).unwrap_or_default())?;
    }
    found.check(hlen)?;
    Ok(found.class())
}

fn is_no_relay(giaddr: &[u8]) -> bool {
    match *giaddr {
        [0, 0, 0, 0] => false,
        [first, ..] => first == 0 || first >= 224,
        [] => false,
    }
}

/// What the options say. Where one is repeated the first counts, except for those that may come in
/// pieces, of which the lengths are added up.
#[derive(Default)]
struct Found<'a> {
    overload: u8,
    message: bool,
    bad_message: bool,
    vendor_class: Option<&'a [u8]>,
    user_class: Option<&'a [u8]>,
    arches: Option<&'a [u8]>,
    ipxe: bool,
    vendor_len: usize,
    client_id_len: usize,
    relay_info_len: usize,
}

impl<'a> Found<'a> {
    fn area(&mut self, field: &'a [u8]) -> Result<(), Broken> {
        let mut rest = field;
        while let Some((&code, behind)) = rest.split_first() {
            if code == PAD {
                rest = behind;
                continue;
            }
            if code == END {
                break;
            }
            let Some((&len, behind)) = behind.split_first() else {
                return Err(Broken::OptionPastEnd);
            };
            let Some((data, behind)) = behind.split_at_checked(usize::from(len)) else {
                return Err(Broken::OptionPastEnd);
            };
            self.take(code, data);
            rest = behind;
        }
        Ok(())
    }

    fn take(&mut self, code: u8, data: &'a [u8]) {
        match code {
            VENDOR => self.vendor_len = self.vendor_len.saturating_add(data.len()),
            OVERLOAD => self.overload = data.first().copied().unwrap_or(0),
            MESSAGE_TYPE if !self.message => {
                self.message = data.len() == 1;
                self.bad_message |= data.len() != 1;
            }
            VENDOR_CLASS => first(&mut self.vendor_class, data),
            CLIENT_ID => self.client_id_len = self.client_id_len.saturating_add(data.len()),
            USER_CLASS => first(&mut self.user_class, data),
            RELAY_INFO => self.relay_info_len = self.relay_info_len.saturating_add(data.len()),
            CLIENT_ARCH => first(&mut self.arches, data),
            IPXE => self.ipxe = true,
            _ => {}
        }
    }

    const fn check(&self, hlen: u8) -> Result<(), Broken> {
        if self.bad_message {
            return Err(Broken::OptionLength);
        }
        if self.vendor_len > 255 || self.client_id_len > 255 || self.relay_info_len > 510 {
            return Err(Broken::OptionTooLong);
        }
        if hlen == 0 && self.client_id_len == 0 {
            return Err(Broken::NoHardware);
        }
        Ok(())
    }

    fn class(&self) -> Class {
        let vendor_class = self.vendor_class.unwrap_or_default();
        let (http, rest) = if let Some(rest) = vendor_class.strip_prefix(b"PXEClient") {
            (false, rest)
        } else if let Some(rest) = vendor_class.strip_prefix(b"HTTPClient") {
            (true, rest)
        } else {
            return Class::DhcpNotPxe;
        };
        if self.ipxe || self.user_class.is_some_and(is_ipxe) {
            Class::Ipxe
        } else if http {
            Class::HttpClient
        } else {
            Class::Firmware(self.family(rest))
        }
    }

    /// Option 93, else the number in option 60, else a BIOS ROM that says nothing.
    fn family(&self, class: &[u8]) -> Family {
        let (arches, _) = self.arches.unwrap_or_default().as_chunks::<2>();
        if arches.is_empty() {
            let number = class.strip_prefix(b":Arch:").and_then(decimal);
            return Family::of(number.unwrap_or(0));
        }
        let families = arches
            .iter()
            .take(8)
            .map(|arch| Family::of(u16::from_be_bytes(*arch)));
        let mut known = families.filter(|family| *family != Family::Unknown);
        known.next().unwrap_or(Family::Unknown)
    }
}

fn first<'a>(slot: &mut Option<&'a [u8]>, data: &'a [u8]) {
    if slot.is_none() {
        *slot = Some(data);
    }
}

/// The bare word, or RFC 3004's list of items with a length byte each.
fn is_ipxe(data: &[u8]) -> bool {
    if is_name(data) {
        return true;
    }
    let mut rest = data;
    while let [len, behind @ ..] = rest {
        let Some((item, behind)) = behind.split_at_checked(usize::from(*len)) else {
            return false;
        };
        if is_name(item) {
            return true;
        }
        rest = behind;
    }
    false
}

fn is_name(text: &[u8]) -> bool {
    text == b"iPXE" || text == b"gPXE"
}

fn decimal(text: &[u8]) -> Option<u16> {
    let mut number: Option<u16> = None;
    for byte in text {
        if !byte.is_ascii_digit() {
            break;
        }
        let digit = u16::from(byte.wrapping_sub(b'0'));
        number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
    }
    number
}

const PAD: u8 = 0;
const VENDOR: u8 = 43;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const VENDOR_CLASS: u8 = 60;
const CLIENT_ID: u8 = 61;
const USER_CLASS: u8 = 77;
const RELAY_INFO: u8 = 82;
const CLIENT_ARCH: u8 = 93;
const IPXE: u8 = 175;
const END: u8 = 255;
