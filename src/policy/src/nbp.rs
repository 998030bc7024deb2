//! Which boot program serves which family.

use bootstorm_catalog::Snapshot;
use bootstorm_proto::types::Family;

use crate::Rules;

/// Names to look for in `boot/` and then in the whole images folder, best first: iPXE that uses the
/// firmware's own network driver, then iPXE with drivers of its own, then shim or GRUB alone. They
/// are the names of the iPXE project's builds, of Debian's packages and of usual downloads.
#[must_use]
pub const fn candidates(family: Family) -> &'static [&'static str] {
    match family {
        Family::Bios => BIOS,
        Family::Ia32 => IA32,
        Family::X64 => X64,
        Family::Arm32 => ARM32,
        Family::Arm64 => ARM64,
        Family::Riscv32 => RISCV32,
        Family::Riscv64 => RISCV64,
        Family::Loong32 => LOONG32,
        Family::Loong64 => LOONG64,
    }
}

/// A boot program that is there.
pub(crate) struct Nbp {
    /// As TFTP clients ask for it.
    pub(crate) name: String,
    /// As it lies in the images folder.
    pub(crate) path: String,
}

/// The first boot program for the family that is there.
pub(crate) fn find(rules: &Rules, catalog: &Snapshot, family: Family) -> Option<Nbp> {
    wanted(rules, family).find_map(|name| {
        let file = catalog.tftp_file(name).ok()?;
        Some(Nbp {
            name: name.to_owned(),
            path: file.path.to_string(),
        })
    })
}

/// The names that are looked for, best first.
pub(crate) fn wanted(rules: &Rules, family: Family) -> Box<dyn Iterator<Item = &str> + '_> {
    match rules.nbp.get(&family) {
        Some(names) => Box::new(names.iter().map(String::as_str)),
        None => Box::new(candidates(family).iter().copied()),
    }
}

const BIOS: &[&str] = &[
    "undionly.kpxe",
    "undionly.kkpxe",
    "undionly.pxe",
    "x86/undionly.kpxe",
    "ipxe.pxe",
    "ipxe.kpxe",
];
const IA32: &[&str] = &[
    "snponly-ia32.efi",
    "snponly-i386.efi",
    "snponly_x86.efi",
    "i386-efi/snponly.efi",
    "ipxe-ia32.efi",
    "ipxe-i386.efi",
    "i386-efi/ipxe.efi",
    "shimia32.efi",
    "bootia32.efi",
    "grubia32.efi",
];
const X64: &[&str] = &[
    "snponly.efi",
    "snponly-x86_64.efi",
    "snponly-amd64.efi",
    "snponly_x64.efi",
    "x86_64-efi/snponly.efi",
    "ipxe.efi",
    "ipxe-x86_64.efi",
    "ipxe-amd64.efi",
    "x86_64-efi/ipxe.efi",
    "shimx64.efi",
    "bootx64.efi",
    "grubx64.efi",
];
const ARM32: &[&str] = &[
    "snponly-arm32.efi",
    "arm32-efi/snponly.efi",
    "ipxe-arm32.efi",
    "arm32-efi/ipxe.efi",
    "bootarm.efi",
    "grubarm.efi",
];
const ARM64: &[&str] = &[
    "snponly-arm64.efi",
    "snponly_arm64.efi",
    "arm64-efi/snponly.efi",
    "ipxe-arm64.efi",
    "arm64-efi/ipxe.efi",
    "shimaa64.efi",
    "bootaa64.efi",
    "grubaa64.efi",
];
const RISCV32: &[&str] = &[
    "snponly-riscv32.efi",
    "riscv32-efi/snponly.efi",
    "ipxe-riscv32.efi",
    "riscv32-efi/ipxe.efi",
    "bootriscv32.efi",
];
const RISCV64: &[&str] = &[
    "snponly-riscv64.efi",
    "riscv64-efi/snponly.efi",
    "ipxe-riscv64.efi",
    "riscv64-efi/ipxe.efi",
    "bootriscv64.efi",
    "grubriscv64.efi",
];
const LOONG32: &[&str] = &["snponly-loong32.efi", "ipxe-loong32.efi"];
const LOONG64: &[&str] = &[
    "snponly-loong64.efi",
    "loong64-efi/snponly.efi",
    "ipxe-loong64.efi",
    "loong64-efi/ipxe.efi",
    "bootloongarch64.efi",
    "grubloongarch64.efi",
];
