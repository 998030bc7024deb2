//! What Windows' boot manager fetches by TFTP.
