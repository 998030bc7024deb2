//! UEFI HTTP Boot (UEFI 2.5, section 23.7): the same exchange under another class.

use super::pxe;

/// Firmware throws away every offer whose option 60 does not begin `HTTPClient`; the URL names its
/// server, so that sname and option 66 stay empty.
pub(super) const fn shape(class: &mut &'static [u8], named: &mut bool) {
    *class = pxe::HTTP_CLASS;
    *named = false;
}
