//! What holds for all bytes.
