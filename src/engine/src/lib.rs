//! The data plane: pinned threads, one ring each, no async runtime.

pub mod driver;
mod engine;
mod error;
pub mod handoff;
mod http_service;
mod interfaces;
mod limits;
mod ports;
pub mod tls;
mod udp;
mod worker;

pub use engine::{Bound, DataPorts, DriverChoice, Engine, EngineConfig, Seams, TftpConfig};
pub use error::{EngineError, Holder};
