//! Small files with secrets in them: private, whole or absent.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::ControlError;
use crate::authority::{Warning, issue};

/// Mode of files that hold a key.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of files that anybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// The reason codes of one kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes {
    pub(crate) unreadable: &'static str,
    pub(crate) unwritable: &'static str,
    pub(crate) damaged: &'static str,
    /// A warning: others could read it.
    pub(crate) open: &'static str,
}

/// Certificates and their keys.
pub(crate) const CERT: Codes = Codes {
    unreadable: "cert.unreadable",
    unwritable: "cert.unwritable",
    damaged: "cert.damaged",
    open: "cert.key-open",
};

/// The admin token.
pub(crate) const TOKEN: Codes = Codes {
    unreadable: "web.token-unreadable",
    unwritable: "web.token-unwritable",
    damaged: "web.token-damaged",
    open: "web.token-open",
};

/// The secret behind tokens of boots.
pub(crate) const BOOT_KEY: Codes = Codes {
    unreadable: "boot.key-unreadable",
    unwritable: "boot.key-unwritable",
    damaged: "boot.key-damaged",
    open: "boot.key-open",
};

/// More than any chain; a larger file is none.
const SIZE_MAX: u64 = 1024 * 1024;

/// Makes the folder, mode 0700, or takes it as it is.
pub(crate) fn private_folder(path: &Path) -> Result<(), ControlError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
    .map_err(|source| unwritable(path, CERT, source))
}

/// The text of a file; `None` when there is none.
pub(crate) fn read(path: &Path, codes: Codes) -> Result<Option<String>, ControlError> {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|f| f.take(SIZE_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(ControlError::Certificate {
            code: codes.damaged,
            path: path.to_owned(),
            what: "is not text".to_owned(),
            hint: "restore it from a backup",
        }),
        Err(source) => Err(ControlError::File {
            code: codes.unreadable,
            path: path.to_owned(),
            doing: "read",
            hint: "the user that runs the server must own it",
            source,
        }),
    }
}

/// [`read`] for a file with a key in it: takes rights away from others if they have any.
pub(crate) fn read_private(
    path: &Path,
    codes: Codes,
    warnings: &mut Vec<Warning>,
) -> Result<Option<String>, ControlError> {
    let text = read(path, codes)?;
    if text.is_some() {
        warnings.extend(too_open(path, codes));
        if fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0) {
            fs::set_permissions(path, Permissions::from_mode(PRIVATE))
                .map_err(|source| unwritable(path, codes, source))?;
        }
    }
    Ok(text)
}

/// The text of a file that holds a secret; one that is not there is made of 32 random bytes in
/// hexadecimal. Logs when others could read it.
pub(crate) fn secret(path: &Path, codes: Codes) -> Result<String, ControlError> {
    let mut warnings = Vec::new();
    let text = match read_private(path, codes, &mut warnings)? {
        Some(text) => text,
        None => {
            let text = format!("{}\n", random()?);
            write(path, codes, &text, PRIVATE)?;
            text
        }
    };
    for warning in warnings {
        tracing::warn!(code = warning.code, "{}", warning.text);
    }
    Ok(text)
}

fn random() -> Result<String, ControlError> {
    use std::fmt::Write as _;
    let mut bytes = [0; 32];
    issue::random(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// A warning when others than the owner may read a file with a key in it.
pub(crate) fn too_open(path: &Path, codes: Codes) -> Option<Warning> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| Warning {
        code: codes.open,
        text: format!(
            "{} holds a secret and had mode {mode:04o}: others could read it",
            path.display()
        ),
    })
}

/// Writes a file that is there whole or not at all, even after a crash.
pub(crate) fn write(path: &Path, codes: Codes, text: &str, mode: u32) -> Result<(), ControlError> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let result = replace(path, &temporary, text, mode);
    if result.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(|source| unwritable(path, codes, source))
}

fn replace(path: &Path, temporary: &Path, text: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn unwritable(path: &Path, codes: Codes, source: io::Error) -> ControlError {
    ControlError::File {
        code: codes.unwritable,
        path: path.to_owned(),
        doing: "written",
        hint: "the user that runs the server must own the data folder, and its disk needs room",
        source,
    }
}
