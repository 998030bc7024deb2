//! Metrics, boot events, logging.
#![forbid(unsafe_code)]

mod codes;
pub mod event;
pub mod logging;
pub mod metrics;
