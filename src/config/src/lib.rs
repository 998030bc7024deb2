//! The configuration file: wire form, checked model, diagnostics.
