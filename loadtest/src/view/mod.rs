//! How a storm is shown: while it goes on and afterwards.

mod lines;
mod pace;
mod text;
mod units;

pub(crate) use lines::Lines;
pub(crate) use text::summary;
