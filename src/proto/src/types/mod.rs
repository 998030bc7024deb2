//! Values that are parsed once and never checked again.

mod arch;
mod guid;
mod hardware;
mod sizes;

pub use arch::{ClientArch, Family};
pub use guid::MachineGuid;
pub use hardware::{HardwareAddress, MacAddress, NotAnAddress};
pub use sizes::{BlockSize, OutOfRange, WindowSize};
