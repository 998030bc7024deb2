//! Certificates in the form that firmware enrols: an EFI signature list (UEFI 2.10, 32.4.1).

use anyhow::{Result, anyhow};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// EFI_CERT_X509_GUID a5c059a1-94e4-4aa7-87b5-ab155c2bf072, as stored.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// Says who enrolled it; any will do.
const OWNER: [u8; 16] = *b"bootstorm-e2e-ca";
const HEADER: usize = 16 + 4 + 4 + 4;

/// The list with one certificate, for `etc/edk2/https/cacerts`.
///
/// # Errors
/// The text holds no PEM certificate.
pub fn signature_list(pem: &[u8]) -> Result<Vec<u8>> {
    let der = CertificateDer::from_pem_slice(pem)
        .map_err(|error| anyhow!("the CA is not a PEM certificate: {error:?}"))?;
    let signature = OWNER.len() + der.len();
    let mut list = Vec::with_capacity(HEADER + signature);
    list.extend_from_slice(&X509);
    for size in [HEADER + signature, 0, signature] {
        list.extend_from_slice(&u32::try_from(size)?.to_le_bytes());
    }
    list.extend_from_slice(&OWNER);
    list.extend_from_slice(&der);
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::signature_list;

    #[test]
    fn a_certificate_becomes_a_list_of_one() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAQIDBA==\n-----END CERTIFICATE-----\n";
        let list = signature_list(pem).unwrap();
        assert_eq!(list.len(), 28 + 16 + 4);
        assert_eq!(list[16..20], 48_u32.to_le_bytes());
        assert_eq!(list[20..24], [0; 4]);
        assert_eq!(list[24..28], 20_u32.to_le_bytes());
        assert_eq!(list[44..], [1, 2, 3, 4]);
    }

    #[test]
    fn text_without_a_certificate_is_refused() {
        assert!(signature_list(b"no certificate").is_err());
    }
}
