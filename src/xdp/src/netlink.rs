//! Two requests of rtnetlink(7): which XDP programs an interface has, and taking one off that no
//! link holds. Numbers are those of linux/if_link.h.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use crate::attach::Hook;

/// An XDP program at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachedProgram {
    pub(crate) hook: Hook,
    pub(crate) id: u32,
}

/// The programs that an interface has; those in the network card itself are no business of ours.
///
/// # Errors
/// What the kernel answered: ENODEV where there is no such interface.
pub(crate) fn programs(index: u32) -> Result<Vec<AttachedProgram>, Errno> {
    let mask = attribute(libc::IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    let answer = ask(libc::RTM_GETLINK, 0, index, &mask)?;
    let links = attributes(answer.get(HEADER..).unwrap_or_default());
    let xdp = links.filter(|(kind, _)| *kind == libc::IFLA_XDP);
    Ok(xdp
        .flat_map(|(_, nested)| attributes(nested))
        .filter_map(|(kind, value)| {
            let hook = match kind {
                IFLA_XDP_DRV_PROG_ID => Hook::Driver,
                IFLA_XDP_SKB_PROG_ID => Hook::Stack,
                _ => return None,
            };
            let id = u32::from_ne_bytes(*value.first_chunk()?);
            Some(AttachedProgram { hook, id })
        })
        .collect())
}

/// Takes the program at a hook off.
///
/// # Errors
/// What the kernel answered: EBUSY where a link holds the program.
pub(crate) fn detach(index: u32, hook: Hook) -> Result<(), Errno> {
    let flags = match hook {
        Hook::Driver => XDP_FLAGS_DRV_MODE,
        Hook::Stack => XDP_FLAGS_SKB_MODE,
    };
    let mut nested = attribute(IFLA_XDP_FD, &(-1_i32).to_ne_bytes());
    nested.extend(attribute(IFLA_XDP_FLAGS, &flags.to_ne_bytes()));
    let xdp = attribute(libc::IFLA_XDP | NLA_F_NESTED, &nested);
    ask(libc::RTM_SETLINK, libc::NLM_F_ACK, index, &xdp).map(drop)
}

const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const NLA_F_NESTED: u16 = 1 << 15;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// `nlmsghdr`, then `ifinfomsg`.
const HEADER: usize = 16 + 16;
/// Attributes and messages begin at multiples of this.
const ALIGNED: usize = 4;
/// More than the kernel says about one interface without its statistics.
const ANSWER_MAX: usize = 64 * 1024;

/// Sends one request about an interface; returns the answer's message.
fn ask(kind: u16, flags: i32, index: u32, attributes: &[u8]) -> Result<Vec<u8>, Errno> {
    let length = HEADER + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    // Sequence number and sender: there is one request a socket.
    message.extend([0; 8]);
    // Family, type.
    message.extend([0; 4]);
    message.extend(index.to_ne_bytes());
    // Flags of the interface, and which of them to change: none.
    message.extend([0; 8]);
    message.extend(attributes);
    let socket = socket()?;
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_MAX];
    let (_, length) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    answer.truncate(length);
    let code = answer.get(4..6).ok_or(Errno::BADMSG)?;
    if code == (libc::NLMSG_ERROR as u16).to_ne_bytes() {
        let error = answer.get(16..20).and_then(|bytes| bytes.first_chunk());
        let error = i32::from_ne_bytes(*error.ok_or(Errno::BADMSG)?);
        if error != 0 {
            return Err(Errno::from_raw_os_error(-error));
        }
    }
    Ok(answer)
}

fn socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = ALIGNED + value.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(ALIGNED));
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(ALIGNED), 0);
    bytes
}

/// Kinds, without flags, and values, as far as the lengths make sense.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(ALIGNED..length)?;
        bytes = bytes
            .get(length.next_multiple_of(ALIGNED)..)
            .unwrap_or_default();
        Some((kind & !NLA_F_NESTED, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_no_program_and_nobody_has_the_last_index() {
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();
        assert_eq!(programs(lo), Ok(vec![]));
        assert_eq!(programs(i32::MAX as u32), Err(Errno::NODEV));
    }

    #[test]
    fn attributes_are_read_as_they_are_written_and_cut_ones_end_the_list() {
        let mut bytes = attribute(7, b"abcde");
        bytes.extend(attribute(8 | NLA_F_NESTED, &attribute(9, b"")));
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read[0], (7, &b"abcde"[..]));
        assert_eq!(read[1].0, 8);
        assert_eq!(attributes(read[1].1).collect::<Vec<_>>(), [(9, &b""[..])]);
        for end in 0..bytes.len() {
            assert!(attributes(&bytes[..end]).count() <= 2);
        }
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
    }
}
