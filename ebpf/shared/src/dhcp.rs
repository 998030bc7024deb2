//! DHCPv4 by its header and the few options that tell who asks (RFC 2131, section 2).

use core::ops::ControlFlow;

use crate::class::{Broken, Class, Family};
use crate::source::{Source, Span};
use crate::verdict::Machine;

/// Bytes of the longest message that is looked at.
pub const DHCP_MAX: usize = 1940;

/// More steps than any message takes: one for each byte of its options, of its `sname` and `file`
/// fields, and of two options that are looked at again.
pub const STEPS: u32 = 3072;

/// One message on the way to its class.
///
/// A loop whose length depends on the packet runs in the kernel only as a callback, so everything
/// that a packet can repeat is a stage of one walk, and each step looks at a few bytes.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    stage: Stage,
    /// The next byte of the stage, and where it ends.
    at: usize,
    end: usize,
    hlen: u8,
    overload: u8,
    machine: Machine,
    message: bool,
    bad_message: bool,
    machine_id: bool,
    ipxe: bool,
    number: u16,
    // Where an option is repeated the first counts, except for those that may come in pieces, of
    // which the lengths are added up.
    vendor_class: Option<Span>,
    user_class: Option<Span>,
    arches: Option<Span>,
    vendor_len: usize,
    client_id_len: usize,
    relay_info_len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The options field.
    Options,
    /// Options in the `file` field.
    File,
    /// Options in the `sname` field.
    Sname,
    /// The items of option 77.
    UserClass,
    /// The architectures of option 93.
    Arches,
    /// The digits of option 60.
    Digits,
    Done(Class),
}

impl Walk {
    /// Begins with the message that a source holds, from its first byte.
    #[inline]
    pub fn start<S: Source + ?Sized>(message: &S) -> Self {
        let mut walk = Self {
            stage: Stage::Options,
            at: HEADER_LEN,
            end: message.size(),
            hlen: 0,
            overload: 0,
            machine: Machine {
                mac: [0; 6],
                relay: [0; 4],
                guid: None,
            },
            message: false,
            bad_message: false,
            machine_id: false,
            ipxe: false,
            number: 0,
            vendor_class: None,
            user_class: None,
            arches: None,
            vendor_len: 0,
            client_id_len: 0,
            relay_info_len: 0,
        };
        if let Err(class) = walk.header(message) {
            walk.stage = Stage::Done(class);
        }
        walk
    }

    /// Looks at the next few bytes; breaks with the class when it is found.
    ///
    /// The order of the checks is that of the parser: a packet with two faults has one reason.
    #[inline]
    pub fn step<S: Source + ?Sized>(&mut self, message: &S) -> ControlFlow<Class> {
        self.stage = match self.stage {
            Stage::Options | Stage::File | Stage::Sname => self.option(message),
            Stage::UserClass => self.user_class_item(message),
            Stage::Arches => self.arch(message),
            Stage::Digits => self.digit(message),
            done @ Stage::Done(_) => done,
        };
        match self.stage {
            Stage::Done(class) => ControlFlow::Break(class),
            _ => ControlFlow::Continue(()),
        }
    }

    /// The class, once it is found.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        match self.stage {
            Stage::Done(class) => Some(class),
            _ => None,
        }
    }

    /// Who sent it, as far as the walk has come: `None` where the header shows no Ethernet address.
    #[must_use]
    pub fn machine(&self) -> Option<&Machine> {
        (self.hlen == 6).then_some(&self.machine)
    }

    #[inline]
    fn header<S: Source + ?Sized>(&mut self, message: &S) -> Result<(), Class> {
        if message.size() > DHCP_MAX {
            return Err(Class::Malformed(Broken::TooLong));
        }
        let short = Class::Malformed(Broken::Short);
        let cookie = message.array(HEADER_LEN - 4).ok_or(short)?;
        let [op, _, hlen, hops] = message.array(0).ok_or(short)?;
        if cookie != COOKIE {
            return Err(Class::Malformed(Broken::BadCookie));
        }
        if hlen > 16 {
            return Err(Class::Malformed(Broken::HardwareLength));
        }
        self.hlen = hlen;
        self.machine.mac = message.array(28).ok_or(short)?;
        if op != 1 {
            return Err(Class::NotOurs);
        }
        if hops >= 16 {
            return Err(Class::Malformed(Broken::Hops));
        }
        let relay = message.array(24).ok_or(short)?;
        if relay != [0; 4] && !matches!(relay, [1..224, _, _, _]) {
            return Err(Class::Malformed(Broken::BadRelay));
        }
        self.machine.relay = relay;
        Ok(())
    }

    #[inline]
    fn option<S: Source + ?Sized>(&mut self, message: &S) -> Stage {
        let past_end = Stage::Done(Class::Malformed(Broken::OptionPastEnd));
        let code = message.byte(self.at).filter(|_| self.at < self.end);
        match code {
            None | Some(END) => return self.area_ends(message),
            // It may well run over the end of a field.
            Some(PAD) => self.at += message.array(self.at).map_or(1, padding),
            Some(code) => {
                let Some(len) = message.byte(self.at + 1).map(usize::from) else {
                    return past_end;
                };
                let option = Span {
                    at: self.at + 2,
                    len,
                };
                self.at = option.at + len;
                if self.at > self.end {
                    return past_end;
                }
                self.take(code, option, message);
            }
        }
        self.stage
    }

    #[inline]
    fn take<S: Source + ?Sized>(&mut self, code: u8, option: Span, message: &S) {
        match code {
            VENDOR => self.vendor_len += option.len,
            OVERLOAD if matches!(self.stage, Stage::Options) => {
                let value = message.byte(option.at).filter(|_| option.len > 0);
                self.overload = value.unwrap_or(0);
            }
            MESSAGE_TYPE if !self.message => {
                self.message = option.len == 1;
                self.bad_message |= option.len != 1;
            }
            VENDOR_CLASS => first(&mut self.vendor_class, option),
            CLIENT_ID => self.client_id_len += option.len,
            USER_CLASS => first(&mut self.user_class, option),
            RELAY_INFO => self.relay_info_len += option.len,
            CLIENT_ARCH => first(&mut self.arches, option),
            MACHINE_ID if !self.machine_id => {
                self.machine_id = true;
                self.machine.guid = guid(message, option);
            }
            IPXE => self.ipxe = true,
            _ => {}
        }
    }

    /// Goes on to the header fields that option 52 names, then to the class.
    #[inline]
    fn area_ends<S: Source + ?Sized>(&mut self, message: &S) -> Stage {
        let in_options = matches!(self.stage, Stage::Options);
        if in_options && matches!(self.overload, 1 | 3) {
            (self.at, self.end) = FILE;
            return Stage::File;
        }
        if !matches!(self.stage, Stage::Sname) && matches!(self.overload, 2 | 3) {
            (self.at, self.end) = SNAME;
            return Stage::Sname;
        }
        if let Err(broken) = self.check() {
            return Stage::Done(Class::Malformed(broken));
        }
        self.sort(message)
    }

    #[inline]
    const fn check(&self) -> Result<(), Broken> {
        if self.bad_message {
            return Err(Broken::OptionLength);
        }
        if self.vendor_len > 255 || self.client_id_len > 255 || self.relay_info_len > 510 {
            return Err(Broken::OptionTooLong);
        }
        if self.hlen == 0 && self.client_id_len == 0 {
            return Err(Broken::NoHardware);
        }
        Ok(())
    }

    #[inline]
    fn sort<S: Source + ?Sized>(&mut self, message: &S) -> Stage {
        if !self.begins(message, PXE) && !self.begins(message, HTTP) {
            return Stage::Done(Class::DhcpNotPxe);
        }
        if self.ipxe {
            return Stage::Done(Class::Ipxe);
        }
        match self.user_class {
            Some(whole) if is_ipxe(message, whole) => Stage::Done(Class::Ipxe),
            Some(items) => self.look(Stage::UserClass, items),
            None => self.firmware(message),
        }
    }

    /// One item of RFC 3004's list: a length byte, then so many bytes.
    #[inline]
    fn user_class_item<S: Source + ?Sized>(&mut self, message: &S) -> Stage {
        let len = message.byte(self.at).filter(|_| self.at < self.end);
        let Some(len) = len.map(usize::from) else {
            return self.firmware(message);
        };
        let item = Span {
            at: self.at + 1,
            len,
        };
        self.at = item.at + len;
        if self.at > self.end {
            return self.firmware(message);
        }
        if is_ipxe(message, item) {
            return Stage::Done(Class::Ipxe);
        }
        Stage::UserClass
    }

    /// Option 93, else the number in option 60, else a BIOS ROM that says nothing.
    #[inline]
    fn firmware<S: Source + ?Sized>(&mut self, message: &S) -> Stage {
        if self.begins(message, HTTP) {
            return Stage::Done(Class::HttpClient);
        }
        if let Some(Span { at, len: 2.. }) = self.arches {
            let len = self.arches.map_or(0, |arches| arches.len.min(16) & !1);
            return self.look(Stage::Arches, Span { at, len });
        }
        if let (Some(class), true) = (self.vendor_class, self.begins(message, PXE_ARCH)) {
            let at = class.at + PXE_ARCH.len();
            let len = class.len - PXE_ARCH.len();
            return self.look(Stage::Digits, Span { at, len });
        }
        Stage::Done(Class::Firmware(Family::Bios))
    }

    #[inline]
    fn arch<S: Source + ?Sized>(&mut self, message: &S) -> Stage {
        let arch = message.number(self.at).filter(|_| self.at < self.end);
        match arch.map(Family::of) {
            Some(Family::Unknown) => {
                self.at += 2;
                Stage::Arches
            }
            Some(family) => Stage::Done(Class::Firmware(family)),
            None => Stage::Done(Class::Firmware(Family::Unknown)),
        }
    }

    #[inline]
    fn digit<S: Source + ?Sized>(&mut self, message: &S) -> Stage {
        let byte = message.byte(self.at).filter(|_| self.at < self.end);
        let Some(byte @ b'0'..=b'9') = byte else {
            return Stage::Done(Class::Firmware(Family::of(self.number)));
        };
        let number = u32::from(self.number) * 10 + u32::from(byte - b'0');
        match u16::try_from(number) {
            Ok(number) => {
                self.number = number;
                self.at += 1;
                Stage::Digits
            }
            Err(_) => Stage::Done(Class::Firmware(Family::Bios)),
        }
    }

    #[inline]
    const fn look(&mut self, stage: Stage, span: Span) -> Stage {
        self.at = span.at;
        self.end = span.at + span.len;
        stage
    }

    #[inline]
    fn begins<S: Source + ?Sized, const N: usize>(&self, message: &S, text: &[u8; N]) -> bool {
        match self.vendor_class {
            Some(class) => class.len >= N && message.array(class.at) == Some(*text),
            None => false,
        }
    }
}

/// Sorts a whole message, and says who sent it.
pub(crate) fn sort<S: Source + ?Sized>(message: &S) -> (Class, Option<Machine>) {
    let mut walk = Walk::start(message);
    for _ in 0..STEPS {
        if let ControlFlow::Break(class) = walk.step(message) {
            return (class, walk.machine().copied());
        }
    }
    (Class::NotOurs, None)
}

#[inline]
const fn first(slot: &mut Option<Span>, option: Span) {
    if slot.is_none() {
        *slot = Some(option);
    }
}

/// How many of these bytes are padding, which comes in long runs.
#[inline]
const fn padding(bytes: [u8; 8]) -> usize {
    let mut rest = u64::from_le_bytes(bytes);
    if rest == 0 {
        return 8;
    }
    let mut len = 0;
    if rest as u32 == 0 {
        rest >>= 32;
        len += 4;
    }
    if rest as u16 == 0 {
        rest >>= 16;
        len += 2;
    }
    if rest as u8 == 0 {
        len += 1;
    }
    len
}

#[inline]
fn is_ipxe<S: Source + ?Sized>(message: &S, name: Span) -> bool {
    let name = message.array(name.at).filter(|_| name.len == 4);
    matches!(name, Some([b'i' | b'g', b'P', b'X', b'E']))
}

/// Type 0 and sixteen bytes (RFC 4578, section 2.3); all zeros or all ones were never written by
/// the vendor.
#[inline]
fn guid<S: Source + ?Sized>(message: &S, id: Span) -> Option<[u8; 16]> {
    if id.len != 17 || message.byte(id.at) != Some(0) {
        return None;
    }
    let guid = message.array(id.at + 1)?;
    (guid != [0; 16] && guid != [0xff; 16]).then_some(guid)
}

const HEADER_LEN: usize = 240;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// The header fields that options may go on in: where they begin and end.
const FILE: (usize, usize) = (108, 236);
const SNAME: (usize, usize) = (44, 108);

const PXE: &[u8; 9] = b"PXEClient";
const PXE_ARCH: &[u8; 15] = b"PXEClient:Arch:";
const HTTP: &[u8; 10] = b"HTTPClient";

const PAD: u8 = 0;
const VENDOR: u8 = 43;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const VENDOR_CLASS: u8 = 60;
const CLIENT_ID: u8 = 61;
const USER_CLASS: u8 = 77;
const RELAY_INFO: u8 = 82;
const CLIENT_ARCH: u8 = 93;
const MACHINE_ID: u8 = 97;
const IPXE: u8 = 175;
const END: u8 = 255;
