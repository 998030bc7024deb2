//! Packets of a TFTP client.

/// A read request in octet mode (RFC 1350 section 5, RFC 2347).
pub(crate) fn read_request(file: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut request = vec![0, 1];
    for text in [file, "octet"]
        .into_iter()
        .chain(options.iter().flat_map(|(n, v)| [*n, *v]))
    {
        request.extend(text.as_bytes());
        request.push(0);
    }
    request
}

/// An acknowledgement.
pub(super) fn ack(block: u16) -> Vec<u8> {
    let [high, low] = block.to_be_bytes();
    vec![0, 4, high, low]
}

/// An error, which ends the transfer for whoever gets it.
pub(super) fn error(code: u8, text: &str) -> Vec<u8> {
    let mut packet = vec![0, 5, 0, code];
    packet.extend(text.as_bytes());
    packet.push(0);
    packet
}

/// What a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A block.
    Data { number: u16, payload: &'a [u8] },
    /// Options that it takes: names and values, each with a NUL behind it.
    Oack(&'a [u8]),
    /// It breaks off.
    Error { code: u16, text: &'a [u8] },
    /// Nothing that a server sends.
    Other,
}

impl<'a> Heard<'a> {
    pub(super) fn parse(packet: &'a [u8]) -> Self {
        match packet {
            [0, 3, high, low, payload @ ..] => Self::Data {
                number: u16::from_be_bytes([*high, *low]),
                payload,
            },
            [0, 6, options @ ..] => Self::Oack(options),
            [0, 5, high, low, text @ ..] => Self::Error {
                code: u16::from_be_bytes([*high, *low]),
                text,
            },
            _ => Self::Other,
        }
    }
}
