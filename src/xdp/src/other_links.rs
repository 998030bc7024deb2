//! Links that other processes hold: found by number, detached by force. bpf(2) by hand, for aya
//! shows neither the interface of a link nor a way to detach one that it did not make. Numbers and
//! layouts are those of linux/bpf.h.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use aya::programs::links::LinkType;
use aya::programs::loaded_links;
use rustix::io::Errno;

/// The link that keeps a program at an interface.
///
/// # Errors
/// What the kernel answered: EPERM without CAP_SYS_ADMIN.
pub(crate) fn find(index: u32, program: u32) -> Result<Option<OwnedFd>, Errno> {
    for link in loaded_links() {
        let link = link.map_err(|error| crate::error::errno(&error).unwrap_or(Errno::PERM))?;
        if !matches!(link.link_type(), Ok(LinkType::Xdp)) || link.program_id() != program {
            continue;
        }
        let fd = open(link.id())?;
        if interface(&fd)? == index {
            return Ok(Some(fd));
        }
    }
    Ok(None)
}

/// Detaches a link, whoever holds it.
///
/// # Errors
/// What the kernel answered.
pub(crate) fn detach(link: &OwnedFd) -> Result<(), Errno> {
    let mut request = link.as_raw_fd();
    // SAFETY: BPF_LINK_DETACH reads one descriptor.
    unsafe { bpf(BPF_LINK_DETACH, &mut request) }.map(drop)
}

const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `struct bpf_link_info` as far as the interface of an XDP link.
#[repr(C, align(8))]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    interface: u32,
    rest: u32,
}

/// The part of `union bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct GetInfo {
    fd: libc::c_int,
    length: u32,
    info: u64,
}

fn open(id: u32) -> Result<OwnedFd, Errno> {
    let mut request = id;
    // SAFETY: BPF_LINK_GET_FD_BY_ID reads one number.
    let fd = unsafe { bpf(BPF_LINK_GET_FD_BY_ID, &mut request) }?;
    // SAFETY: the kernel made the descriptor for this call, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The interface's index; 0 when the link is detached.
fn interface(link: &OwnedFd) -> Result<u32, Errno> {
    let mut info = Info::default();
    let mut request = GetInfo {
        fd: link.as_raw_fd(),
        length: size_of::<Info>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: `info` outlives the call and has room for the length that is given.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut request) }?;
    Ok(info.interface)
}

/// # Safety
/// `T` is the part of `union bpf_attr` that the command reads, and what it points to is valid.
unsafe fn bpf<T>(command: libc::c_int, request: &mut T) -> Result<libc::c_int, Errno> {
    // SAFETY: the request is valid for its size; the caller answers for what is in it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            (&raw mut *request).cast::<libc::c_void>(),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    libc::c_int::try_from(result).map_err(|_| Errno::OVERFLOW)
}
