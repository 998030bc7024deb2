//! Where a storm runs, so that its figures can be judged.

use serde::{Deserialize, Serialize};

/// The host of a storm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    /// The kernel's name and release.
    pub(crate) kernel: String,
    /// The processor's name, as the kernel tells it.
    pub(crate) cpu: String,
    /// Cores that this program may use.
    pub(crate) cores: u32,
}

impl Host {
    /// This one.
    pub(crate) fn here() -> Self {
        let uname = rustix::system::uname();
        let words = [uname.sysname(), uname.release(), uname.machine()];
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            kernel: words.map(|word| word.to_string_lossy()).join(" "),
            cpu: std::fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|text| cpu_name(&text))
                .unwrap_or_else(|| "unknown".to_owned()),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
        }
    }
}

/// Of the first core in /proc/cpuinfo; 64-bit ARM names none.
fn cpu_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    let (_, name) = line.split_once(':')?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_as_the_kernel_does() {
        let text =
            "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t: fpu\n\nmodel name\t: other\n";
        assert_eq!(cpu_name(text).as_deref(), Some("AMD EPYC 9R14"));
        assert_eq!(cpu_name("processor\t: 0\nCPU part\t: 0xd40\n"), None);
    }

    #[test]
    fn a_host_has_a_kernel_and_cores() {
        let host = Host::here();
        assert!(host.kernel.starts_with("Linux "), "{}", host.kernel);
        assert!(host.cores >= 1);
    }
}
