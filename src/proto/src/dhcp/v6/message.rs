//! DHCPv6 options on the wire: two bytes of number, two of length (RFC 8415, section 21.1).

use crate::dhcp::silence::Why;

/// Message types.
pub(super) mod kind {
    pub(crate) const SOLICIT: u8 = 1;
    pub(crate) const ADVERTISE: u8 = 2;
    pub(crate) const REQUEST: u8 = 3;
    pub(crate) const REPLY: u8 = 7;
    pub(crate) const RECONFIGURE: u8 = 10;
    pub(crate) const INFORMATION_REQUEST: u8 = 11;
    pub(crate) const RELAY_FORWARD: u8 = 12;
    pub(crate) const RELAY_REPLY: u8 = 13;
}

/// Option numbers (RFC 8415, RFC 5970, RFC 6939, RFC 8357).
pub(super) mod code {
    pub(crate) const CLIENT_ID: u16 = 1;
    pub(crate) const SERVER_ID: u16 = 2;
    pub(crate) const IA_NA: u16 = 3;
    pub(crate) const ELAPSED_TIME: u16 = 8;
    pub(crate) const RELAY_MESSAGE: u16 = 9;
    pub(crate) const STATUS: u16 = 13;
    pub(crate) const USER_CLASS: u16 = 15;
    pub(crate) const VENDOR_CLASS: u16 = 16;
    pub(crate) const INTERFACE_ID: u16 = 18;
    pub(crate) const BOOTFILE_URL: u16 = 59;
    pub(crate) const CLIENT_ARCH: u16 = 61;
    pub(crate) const CLIENT_INTERFACE: u16 = 62;
    pub(crate) const CLIENT_LINK_LAYER: u16 = 79;
    pub(crate) const RELAY_PORT: u16 = 135;
}

/// Shows every option to `visit`.
pub(super) fn walk<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(u16, &'a [u8]) -> Result<(), Why>,
) -> Result<(), Why> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let [a, b, c, d, behind @ ..] = rest else {
            return Err(Why::OptionPastEnd { code: 0 });
        };
        let code = u16::from_be_bytes([*a, *b]);
        let len = usize::from(u16::from_be_bytes([*c, *d]));
        let Some((data, behind)) = behind.split_at_checked(len) else {
            return Err(Why::OptionPastEnd { code });
        };
        visit(code, data)?;
        rest = behind;
    }
    Ok(())
}

/// The items of a class option: each with two bytes of length.
pub(super) fn items(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let [a, b, behind @ ..] = rest else {
            return None;
        };
        let (item, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes([*a, *b])))?;
        rest = behind;
        Some(item)
    })
}

/// Appends to a buffer, counting on where it ends.
pub(super) struct Writer<'a> {
    buf: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, at: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.buf.get_mut(self.at..self.at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }

    pub(super) fn option(&mut self, code: u16, data: &[u8]) {
        let start = self.open(code);
        self.put(data);
        self.close(start);
    }

    /// Begins an option whose length follows with [`close`](Self::close).
    pub(super) fn open(&mut self, code: u16) -> usize {
        self.put(&code.to_be_bytes());
        self.put(&[0; 2]);
        self.at
    }

    pub(super) fn close(&mut self, start: usize) {
        // A length that does not fit belongs to a reply that does not fit either.
        let len = u16::try_from(self.at - start).unwrap_or(u16::MAX);
        if let Some(field) = self.buf.get_mut(start - 2..start) {
            field.copy_from_slice(&len.to_be_bytes());
        }
    }

    /// `Err` holds the bytes that would have been needed.
    pub(super) const fn finish(self) -> Result<usize, usize> {
        if self.at <= self.buf.len() {
            Ok(self.at)
        } else {
            Err(self.at)
        }
    }
}
