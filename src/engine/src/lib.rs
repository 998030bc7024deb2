//! The data plane: pinned threads, one ring each, no async runtime.

mod config;
mod congestion;
mod dhcp_service;
pub mod driver;
mod engine;
mod error;
pub mod gate;
pub mod handoff;
mod http_service;
mod interfaces;
mod limits;
mod listeners;
pub mod pacing;
mod parked;
mod ports;
mod read_in;
mod report;
mod steering;
mod strangers;
mod tftp_service;
pub mod tls;
mod udp;
mod wheel;
mod worker;

pub use config::{DataPorts, DriverChoice, EngineConfig, Seams, TftpConfig};
pub use engine::{Bound, Engine, Opened};
pub use error::{EngineError, Holder};
pub use limits::{ACCEPT_BACKLOG, RECEIVE_BUFFER, SEND_BUFFER};
pub use ports::udp_holder;
