//! What Windows' boot programs say and are told: option 250 of the second request of wdsnbp (BIOS)
//! and wdsmgfw (UEFI), by which they wait for approval or go to another server, and the options that
//! name files.
//!
//! A list of items, each a number, a length and a value, big-endian, behind the last one 0xff
//! (`WdsBp.h` of the Windows SDK). A DHCP client that is none of these programs may use the number
//! 250 for anything: what is no such list says nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::facts::WindowsFiles;
use super::packet::{Writer, code};
use crate::types::ClientArch;

/// What the boot program says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WdsRequest {
    /// The architecture that it found: BIOS firmware says the same of every processor.
    pub arch: Option<ClientArch>,
    /// Its version, such as 0x0800.
    pub version: Option<u16>,
    /// It asks for the server's version.
    pub asks_version: bool,
    /// Somebody has answered its prompt.
    pub prompted: bool,
    /// It has done what it was told last.
    pub acted: bool,
}

/// What the boot program is to do instead of loading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WdsAction {
    /// Show the message, and ask again.
    Wait {
        /// Pause before each question, at most 65,535 s.
        every: Duration,
        /// How often.
        times: u16,
        /// What people call the request; the screen shows it.
        request: u32,
        /// Shown above it.
        message: String,
    },
    /// Ask this server on port 4011.
    Refer(Ipv4Addr),
    /// Show the message and go on to the next boot device.
    Abort {
        /// Why.
        message: String,
    },
}

impl WdsRequest {
    /// Reads option 250; `None` when it is no whole list of items, or an empty one.
    pub(super) fn parse(option: &[u8]) -> Option<Self> {
        let mut request = Self::default();
        let mut rest = option;
        loop {
            match rest {
                [END] if option.len() > 1 => return Some(request),
                [number, length, behind @ ..] if *number != END => {
                    let value;
                    (value, rest) = behind.split_at_checked(usize::from(*length))?;
                    request.take(*number, value)?;
                }
                _ => return None,
            }
        }
    }

    fn take(&mut self, number: u8, value: &[u8]) -> Option<()> {
        let short = || value.try_into().ok().map(u16::from_be_bytes);
        let flag = || <[u8; 1]>::try_from(value).ok().map(|[flag]| flag != 0);
        match number {
            item::ARCH => self.arch = Some(ClientArch(short()?)),
            item::NBP_VERSION => self.version = Some(short()?),
            item::VERSION_QUERY => self.asks_version = true,
            item::PROMPTED => self.prompted = flag()?,
            item::ACTED => self.acted = flag()?,
            _ => {}
        }
        Some(())
    }
}

/// Item numbers.
mod item {
    pub(super) const ARCH: u8 = 1;
    /// Of option 243, which is a list of its own.
    pub(super) const VARIABLES: u8 = 1;
    pub(super) const ACTION: u8 = 2;
    pub(super) const POLL_INTERVAL: u8 = 3;
    pub(super) const POLL_COUNT: u8 = 4;
    pub(super) const REQUEST: u8 = 5;
    pub(super) const MESSAGE: u8 = 6;
    pub(super) const VERSION_QUERY: u8 = 7;
    pub(super) const REFERRAL: u8 = 9;
    pub(super) const PROMPTED: u8 = 12;
    pub(super) const NBP_VERSION: u8 = 13;
    pub(super) const ACTED: u8 = 14;
}

const END: u8 = 0xff;

/// The next action (item 2).
mod action {
    pub(super) const CONTINUE: u8 = 0;
    pub(super) const WAIT: u8 = 1;
    pub(super) const REFER: u8 = 3;
    pub(super) const ABORT: u8 = 5;
}

/// Writes option 250 of a reply; without an action the program loads the reply's file.
pub(super) fn write(writer: &mut Writer<'_>, next: Option<&WdsAction>) {
    let mut items = Items::default();
    match next {
        None => items.put(item::ACTION, &[action::CONTINUE]),
        Some(WdsAction::Wait {
            every,
            times,
            request,
            message,
        }) => {
            let every = u16::try_from(every.as_secs()).unwrap_or(u16::MAX).max(1);
            items.put(item::ACTION, &[action::WAIT]);
            items.put(item::POLL_INTERVAL, &every.to_be_bytes());
            items.put(item::POLL_COUNT, &times.to_be_bytes());
            items.put(item::REQUEST, &request.to_be_bytes());
            items.message(message);
        }
        Some(WdsAction::Refer(server)) => {
            items.put(item::ACTION, &[action::REFER]);
            items.put(item::REFERRAL, &server.octets());
        }
        Some(WdsAction::Abort { message }) => {
            items.put(item::ACTION, &[action::ABORT]);
            items.message(message);
        }
    }
    writer.option(code::WDS, &items.finish());
}

/// Writes where the boot manager finds what is made for the machine: the store's path in option 252
/// with a NUL, and that of the variables as item 1 of Configuration Manager's option 243.
pub(super) fn write_files(writer: &mut Writer<'_>, files: &WindowsFiles) {
    writer.text(code::BOOT_STORE, files.store.as_bytes());
    if let Some(variables) = &files.variables {
        let mut items = Items::default();
        items.put(item::VARIABLES, variables.as_bytes());
        writer.option(code::VARIABLES, &items.0);
    }
}

/// A list being written; what one option has no room for is left out.
#[derive(Default)]
struct Items(ArrayVec<u8, { 255 - 1 }>);

impl Items {
    fn put(&mut self, number: u8, value: &[u8]) {
        let Ok(length) = u8::try_from(value.len()) else {
            return;
        };
        if value.len() + 2 <= self.0.remaining_capacity() {
            self.0.extend([number, length]);
            self.0.extend(value.iter().copied());
        }
    }

    /// Text that every screen of firmware can show, with a NUL.
    fn message(&mut self, message: &str) {
        let shown = |c: char| {
            let plain = c.is_ascii() && !c.is_ascii_control();
            if plain { c as u8 } else { b'?' }
        };
        let room = self.0.remaining_capacity().saturating_sub(3);
        let mut text: ArrayVec<u8, 255> = message.chars().take(room).map(shown).collect();
        text.push(0);
        self.put(item::MESSAGE, &text);
    }

    fn finish(self) -> ArrayVec<u8, 255> {
        self.0.into_iter().chain([END]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// wdsmgfw as captured.
    const CAPTURED: &[u8] = b"\x0c\x01\x00\x0d\x02\x08\x00\x01\x02\x00\x07\x0e\x01\x00\xff";

    fn written(next: Option<&WdsAction>) -> Vec<u8> {
        let mut buf = [0; 600];
        let header = crate::dhcp::packet::ReplyHeader {
            hardware: crate::types::MacAddress::new([2, 0, 0, 0, 0, 1]).into(),
            xid: 7,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
        };
        let mut writer = Writer::reply(&mut buf, &header);
        write(&mut writer, next);
        writer.finish().unwrap();
        assert_eq!(buf[240], 250);
        buf[242..][..usize::from(buf[241])].to_vec()
    }

    #[test]
    fn wds_21_the_request_of_wdsmgfw_is_read() {
        let request = WdsRequest::parse(CAPTURED).unwrap();
        assert_eq!(
            request,
            WdsRequest {
                arch: Some(ClientArch(7)),
                version: Some(0x0800),
                ..WdsRequest::default()
            }
        );
        let later = WdsRequest::parse(b"\x07\0\x0c\x01\x01\x0e\x01\x01\x63\x02ab\xff").unwrap();
        assert!(later.asks_version && later.prompted && later.acted);
    }

    #[test]
    fn wds_21_what_is_no_list_of_items_says_nothing() {
        for length in 0..CAPTURED.len() {
            assert_eq!(WdsRequest::parse(&CAPTURED[..length]), None, "{length}");
        }
        for odd in [
            &b"\xff"[..],
            b"\x01\x01\x07\xff",
            b"\x0c\0\xff",
            b"\x01\x02\0\x07\xff\0",
        ] {
            assert_eq!(WdsRequest::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn wds_21_the_program_is_told_to_go_on_to_wait_or_to_leave() {
        assert_eq!(written(None), b"\x02\x01\x00\xff");
        let wait = WdsAction::Wait {
            every: Duration::from_secs(10),
            times: 2160,
            request: 7,
            message: "7F3K".to_owned(),
        };
        let items =
            b"\x02\x01\x01\x03\x02\x00\x0a\x04\x02\x08\x70\x05\x04\0\0\0\x07\x06\x057F3K\0\xff";
        assert_eq!(written(Some(&wait)), items);
        let refer = WdsAction::Refer(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(
            written(Some(&refer)),
            b"\x02\x01\x03\x09\x04\x0a\0\0\x02\xff"
        );
        let message = "no\n\u{e4}".to_owned();
        let abort = written(Some(&WdsAction::Abort { message }));
        assert_eq!(abort, b"\x02\x01\x05\x06\x05no??\0\xff");
    }

    #[test]
    fn a_message_is_cut_to_what_an_option_holds() {
        let message = "x".repeat(1000);
        let items = written(Some(&WdsAction::Abort { message }));
        assert_eq!(items.len(), 255);
        assert!(items.ends_with(b"x\0\xff"));
        assert_eq!(usize::from(items[4]), 255 - 6);
    }
}
