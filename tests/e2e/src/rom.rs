//! A plain PXE boot ROM, made of the only one that Debian has for BIOS machines.
//!
//! QEMU's network card brings iPXE as its ROM. A server gives iPXE its script at once, and the
//! step that a card maker's ROM takes, `undionly.kpxe` by TFTP, would never be tested. So the
//! bridge renames what marks a request as iPXE's, options 77 and 175, to private codes until the
//! machine has asked for its boot program; from then on undionly.kpxe speaks for itself.

use std::fs;

use anyhow::Result;

use crate::command;
use crate::lab::{Lab, Node};

/// Offsets in bits from the UDP header: options 77 and 175 stand behind the fixed BOOTP part (240
/// bytes) and the ROM's options 53, 57, 93, 94, 60 (50 bytes), and 31 bytes further. The ROM fills
/// the UDP checksum in, so it is taken out (0: none) where bytes change.
const RULES: &str = "\
table bridge rom {
    set loaded { type ether_addr; size 64; flags dynamic; }
    chain wire {
        type filter hook prerouting priority filter; policy accept;
        udp dport 69 add @loaded { ether saddr }
        ether saddr @loaded accept
        udp dport 67 @th,2384,8 77 @th,2384,8 set 224
        udp dport 67 @th,2632,8 175 @th,2632,8 set 225
        udp dport 67 udp checksum set 0
    }
}
";

/// Makes every iPXE ROM of the lab look like a plain one.
///
/// # Errors
/// This kernel's nftables cannot change bytes on a bridge.
pub fn disguise(lab: &Lab) -> Result<()> {
    let file = lab.folder().join("rom.nft");
    fs::write(&file, RULES)?;
    command::output(lab.command(Node::Lan, "nft").arg("-f").arg(&file))?;
    Ok(())
}
