//! What the kernel program shows of a packet that it dropped.

/// Bytes of a frame that a sample holds at most: everything up to the DHCP client's name.
pub const HEAD: usize = 128;

/// One dropped packet. No byte of it is padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sample {
    /// When, in nanoseconds since the system started (`CLOCK_MONOTONIC`).
    pub at: u64,
    /// Index of the interface.
    pub interface: u32,
    /// Bytes of the frame.
    pub length: u16,
    /// Bytes of it in [`head`](Self::head).
    pub captured: u16,
    /// Number of its class.
    pub class: u8,
    /// Number of the cause.
    pub cause: u8,
    /// The machine's MAC; zero where the packet shows none.
    pub mac: [u8; 6],
    /// The frame's beginning.
    pub head: [u8; HEAD],
}

const _: () = assert!(size_of::<Sample>() == 24 + HEAD);
