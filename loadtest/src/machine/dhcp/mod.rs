//! DHCP as boot firmware and iPXE ask it.

pub(crate) mod message;
