//! Who is answered, with what.
