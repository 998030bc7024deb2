//! The protocols, as a machine speaks them.

pub(crate) mod dhcp;
pub(crate) mod http;
pub(crate) mod script;
pub(crate) mod tftp;
