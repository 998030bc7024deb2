//! Metrics, boot events, logging.
#![forbid(unsafe_code)]

pub mod event;
