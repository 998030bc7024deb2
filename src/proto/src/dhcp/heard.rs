//! The options of a request, sorted.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;

use super::packet::{MessageType, Packet, code};
use super::silence::Why;

/// Raw options. Where one is repeated, the first counts, except for those that may be longer than
/// 255 bytes: their pieces are joined (RFC 3396).
#[derive(Debug, Default)]
pub(super) struct Heard<'a> {
    pub(super) message: Option<MessageType>,
    pub(super) requested: Option<Ipv4Addr>,
    pub(super) server_id: Option<Ipv4Addr>,
    pub(super) max_size: Option<u16>,
    pub(super) vendor_class: Option<&'a [u8]>,
    pub(super) user_class: Option<&'a [u8]>,
    pub(super) arches: Option<&'a [u8]>,
    pub(super) interface: Option<&'a [u8]>,
    pub(super) machine_id: Option<&'a [u8]>,
    pub(super) boot_file: Option<&'a [u8]>,
    pub(super) ipxe: Option<&'a [u8]>,
    pub(super) wds: Option<&'a [u8]>,
    pub(super) vendor: Joined<255>,
    pub(super) client_id: Joined<255>,
    pub(super) relay_info: Joined<510>,
}

impl<'a> Heard<'a> {
    pub(super) fn read(packet: &Packet<'a>) -> Result<Self, Why> {
        let mut heard = Self::default();
        let mut broken = None;
        packet.options(|code, data| {
            if let Err(why) = heard.take(code, data) {
                broken.get_or_insert(why);
            }
        })?;
        if let Some(why) = broken {
            return Err(why);
        }
        for (code, joined) in [
            (code::VENDOR, heard.vendor.len),
            (code::CLIENT_ID, heard.client_id.len),
        ] {
            if joined > 255 {
                return Err(Why::OptionTooLong {
                    code: code.into(),
                    len: joined,
                });
            }
        }
        if heard.relay_info.len > 510 {
            return Err(Why::OptionTooLong {
                code: code::RELAY_INFO.into(),
                len: heard.relay_info.len,
            });
        }
        Ok(heard)
    }

    fn take(&mut self, code: u8, data: &'a [u8]) -> Result<(), Why> {
        match code {
            code::MESSAGE_TYPE if self.message.is_none() => {
                let &[number] = data else {
                    return Err(Why::OptionLength {
                        code: code.into(),
                        len: data.len(),
                    });
                };
                self.message = Some(number.into());
            }
            code::REQUESTED_ADDRESS => first(&mut self.requested, address(data)),
            code::SERVER_ID => first(&mut self.server_id, address(data)),
            code::MAX_SIZE => first(
                &mut self.max_size,
                data.try_into().ok().map(u16::from_be_bytes),
            ),
            code::VENDOR_CLASS => first(&mut self.vendor_class, Some(data)),
            code::USER_CLASS => first(&mut self.user_class, Some(data)),
            code::CLIENT_ARCH => first(&mut self.arches, Some(data)),
            code::CLIENT_INTERFACE => first(&mut self.interface, Some(data)),
            code::MACHINE_ID => first(&mut self.machine_id, Some(data)),
            code::BOOT_FILE => first(&mut self.boot_file, Some(data)),
            code::IPXE => first(&mut self.ipxe, Some(data)),
            code::WDS => first(&mut self.wds, Some(data)),
            code::VENDOR => self.vendor.append(data),
            code::CLIENT_ID => self.client_id.append(data),
            code::RELAY_INFO => self.relay_info.append(data),
            _ => {}
        }
        Ok(())
    }
}

/// Pieces of one option; `len` counts on where there is no more room.
#[derive(Debug, Default)]
pub(super) struct Joined<const N: usize> {
    bytes: ArrayVec<u8, N>,
    len: usize,
}

impl<const N: usize> Joined<N> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn append(&mut self, piece: &[u8]) {
        self.len += piece.len();
        // What does not fit makes `len` too large, which the reader refuses.
        let _ = self.bytes.try_extend_from_slice(piece);
    }
}

fn first<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)
}
