//! The options of a DHCPv6 request, sorted.

use arrayvec::ArrayVec;

use super::duid::Duid;
use super::message::{code, items, walk};
use crate::dhcp::ipxe;
use crate::dhcp::pxe::VendorClass;
use crate::dhcp::silence::Why;

/// Raw options; where one is repeated that should not be, the first counts.
#[derive(Debug, Default)]
pub(super) struct Heard<'a> {
    pub(super) client_id: Option<Duid>,
    pub(super) server_id: Option<&'a [u8]>,
    pub(super) class: Option<VendorClass>,
    pub(super) is_ipxe: bool,
    pub(super) arches: Option<&'a [u8]>,
    pub(super) interface: Option<&'a [u8]>,
    /// Hundredths of a second.
    pub(super) elapsed: u16,
    /// Identity associations that ask for an address.
    pub(super) associations: ArrayVec<[u8; 4], 8>,
}

impl<'a> Heard<'a> {
    pub(super) fn read(options: &'a [u8]) -> Result<Self, Why> {
        let mut heard = Self::default();
        walk(options, |code, data| heard.take(code, data))?;
        Ok(heard)
    }

    fn take(&mut self, code: u16, data: &'a [u8]) -> Result<(), Why> {
        match code {
            code::CLIENT_ID => {
                let len = data.len();
                let duid = Duid::new(data).ok_or(Why::OptionLength { code, len })?;
                self.client_id.get_or_insert(duid);
            }
            code::SERVER_ID => {
                self.server_id.get_or_insert(data);
            }
            code::VENDOR_CLASS if self.class.is_none() => {
                // Four bytes of enterprise number: 343 from Intel's text, but others are met.
                let classes = data.get(4..).unwrap_or_default();
                self.class = items(classes).find_map(VendorClass::parse);
            }
            code::USER_CLASS => self.is_ipxe |= items(data).any(ipxe::is_ipxe_class),
            code::CLIENT_ARCH => {
                self.arches.get_or_insert(data);
            }
            code::CLIENT_INTERFACE => {
                self.interface.get_or_insert(data);
            }
            code::ELAPSED_TIME => {
                self.elapsed = data.try_into().map(u16::from_be_bytes).unwrap_or(0);
            }
            code::IA_NA => {
                if let Some(id) = data.first_chunk::<4>() {
                    // More than eight: the rest is left without a word, as RFC 8415 allows.
                    let _ = self.associations.try_push(*id);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
