//! What only Windows can do: its store of root certificates, and Ctrl-C.
#![expect(unsafe_code, reason = "crypt32 and the console are C interfaces")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use windows_sys::Win32::Security::Cryptography::{
    CERT_STORE_ADD_REPLACE_EXISTING, CERT_STORE_PROV_SYSTEM_W, CERT_SYSTEM_STORE_LOCAL_MACHINE,
    CertAddEncodedCertificateToStore, CertCloseStore, CertOpenStore, X509_ASN_ENCODING,
};
use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;
use windows_sys::core::BOOL;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C does not end this process; [`is_stopped`] tells of it.
pub(crate) fn listen_for_ctrl_c() {
    // SAFETY: the handler is a function of this program, which stays as long as the process, and
    // touches nothing but an atomic: it runs on a thread of its own.
    unsafe { SetConsoleCtrlHandler(Some(stop), 1) };
}

pub(crate) fn is_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

/// Puts a DER certificate into the machine's store of root certificates; one that is there already
/// is replaced.
pub(crate) fn trust(certificate: &[u8]) -> io::Result<()> {
    let length = u32::try_from(certificate.len()).map_err(io::Error::other)?;
    let name: Vec<u16> = "Root\0".encode_utf16().collect();
    // SAFETY: the provider is the one whose parameter is a name, and that is UTF-16 that ends in
    // zero and outlives the call.
    let store = unsafe {
        CertOpenStore(
            CERT_STORE_PROV_SYSTEM_W,
            0,
            0,
            CERT_SYSTEM_STORE_LOCAL_MACHINE,
            name.as_ptr().cast(),
        )
    };
    if store.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the store is open, `certificate` is readable for `length` bytes and is copied by the
    // call, and a null context asks for none back.
    let added = unsafe {
        CertAddEncodedCertificateToStore(
            store,
            X509_ASN_ENCODING,
            certificate.as_ptr(),
            length,
            CERT_STORE_ADD_REPLACE_EXISTING,
            ptr::null_mut(),
        )
    };
    let added = if added == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    };
    // SAFETY: the store was opened above, and is used no more.
    unsafe { CertCloseStore(store, 0) };
    added
}

unsafe extern "system" fn stop(_kind: u32) -> BOOL {
    STOPPED.store(true, Ordering::Relaxed);
    1
}
