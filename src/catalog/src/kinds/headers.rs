//! What programs are for, from their first bytes.

use bootstorm_proto::types::Family;

/// Families that can start the kernel or boot program; empty when its header does not say.
pub(crate) fn boot_families(program: &[u8]) -> Vec<Family> {
    let mut families = Vec::new();
    let bios = program.get(0x202..0x206) == Some(b"HdrS");
    if bios {
        families.push(Family::Bios);
    }
    if let Some(family) = pe_family(program) {
        families.push(family);
    } else if !bios {
        match program.get(0x38..0x3c) {
            Some(b"ARM\x64") => families.push(Family::Arm64),
            Some(b"RSC\x05") => families.push(Family::Riscv64),
            _ => {}
        }
    }
    families
}

/// The family of an EFI program: PE/COFF with an EFI subsystem.
pub(crate) fn efi_family(program: &[u8]) -> Option<Family> {
    let coff = coff(program)?;
    // Optional header, subsystem: EFI application, boot service driver, runtime driver, ROM.
    let subsystem = u16_at(program, coff + 20 + 68)?;
    (10..=13)
        .contains(&subsystem)
        .then(|| pe_family(program))
        .flatten()
}

fn pe_family(program: &[u8]) -> Option<Family> {
    Some(match u16_at(program, coff(program)?)? {
        0x014c => Family::Ia32,
        0x8664 => Family::X64,
        0x01c0 | 0x01c2 | 0x01c4 => Family::Arm32,
        0xaa64 => Family::Arm64,
        0x5032 => Family::Riscv32,
        0x5064 => Family::Riscv64,
        0x6232 => Family::Loong32,
        0x6264 => Family::Loong64,
        _ => return None,
    })
}

/// Where the COFF header begins.
fn coff(program: &[u8]) -> Option<usize> {
    if !program.starts_with(b"MZ") {
        return None;
    }
    let at = usize::from(u16_at(program, 0x3c)?) | usize::from(u16_at(program, 0x3e)?) << 16;
    let coff = at.checked_add(4)?;
    (program.get(at..coff)? == b"PE\0\0").then_some(coff)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes([pair[0], pair[1]]))
}
