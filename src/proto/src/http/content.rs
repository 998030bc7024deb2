//! Media types of what a boot server hands out.

/// The `Content-Type` for a path, by its ending. UEFI firmware refuses to start what it cannot
/// recognise by type or by name (UEFI 2.10, section 24.7.7).
#[must_use]
pub fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, ending)) = name.rsplit_once('.') else {
        return OTHER;
    };
    TYPES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(ending))
        .map_or(OTHER, |(_, media_type)| media_type)
}

const OTHER: &str = "application/octet-stream";

const TYPES: [(&str, &str); 12] = [
    ("efi", "application/efi"),
    ("iso", "application/vnd.efi-iso"),
    ("img", "application/vnd.efi-img"),
    ("ipxe", "text/plain; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("cfg", "text/plain; charset=utf-8"),
    ("lst", "text/plain; charset=utf-8"),
    ("xml", "text/xml; charset=utf-8"),
    ("json", "application/json"),
    ("crt", "application/x-x509-ca-cert"),
    ("png", "image/png"),
    ("sha256", "text/plain; charset=utf-8"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_finds_the_types_it_starts() {
        assert_eq!(content_type("boot/SNPONLY.EFI"), "application/efi");
        assert_eq!(
            content_type("/images/debian.iso"),
            "application/vnd.efi-iso"
        );
        assert_eq!(content_type("disk.img"), "application/vnd.efi-img");
        assert_eq!(content_type("autoexec.ipxe"), "text/plain; charset=utf-8");
        for path in ["vmlinuz", "boot.wim", "a.efi/initrd", "", "."] {
            assert_eq!(content_type(path), "application/octet-stream", "{path}");
        }
    }
}
