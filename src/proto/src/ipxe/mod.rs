//! What iPXE sends, and the scripts it is sent.
