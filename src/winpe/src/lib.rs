//! What the client in Windows PE decides, without a socket, a clock or a file: all of it runs and is
//! tested on any system. `main.rs` and what it names does what is decided here.
//!
//! [`Instructions`] are what the boot server says, [`Journey`] is what the client does about it,
//! step by step, and [`http`] how it speaks to the server.
#![forbid(unsafe_code)]

pub mod command;
pub mod http;
mod instructions;
mod journey;
mod milestone;
mod server;
mod variables;

pub use instructions::{Faulty, Instructions};
pub use journey::{End, Journey, Outcome, Step, Trouble};
pub use milestone::Milestone;
pub use server::Server;
pub use variables::{script, variables};
