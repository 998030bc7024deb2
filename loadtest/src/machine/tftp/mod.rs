//! TFTP as boot firmware speaks it.

pub(crate) mod packet;
