//! What iPXE sends, and the scripts it is sent.
//!
//! [`Params`] reads what a machine says about itself, [`Script`] writes what it is to do. The
//! script language has no quotes and no escapes, so the writer knows for each place what may stand
//! there; see [`Url`], [`Arguments`] and [`Setting`].

mod key;
mod menu;
mod params;
mod script;
mod words;

pub use key::Key;
pub use menu::{Choice, Menu, MenuItem};
pub use params::{Params, lines};
pub use script::{Label, Script};
pub use words::{Arguments, Setting, Unsafe, Url};
