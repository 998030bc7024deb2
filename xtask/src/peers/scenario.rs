//! What is measured, and the limits that must hold.

/// What a server is asked for in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tftp,
    Http,
    Https,
}

/// A file that is served; see [`FILES`].
pub(crate) type File = &'static str;

/// The files and their lengths in bytes.
pub(crate) const FILES: &[(File, u64)] = &[
    ("image.bin", 300_000_000),
    ("program.bin", 150_000),
    ("five.bin", 5_000_000),
];

/// One measurement that every server takes part in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) file: File,
    /// Further arguments of `bootstorm-load fetch`.
    pub(crate) arguments: &'static [&'static str],
    /// Rounds, where a few are enough to see it.
    pub(crate) rounds_max: usize,
    /// Only this server: what is measured is a size of its own.
    pub(crate) alone: bool,
    pub(crate) limits: &'static [Limit],
}

/// What a scenario's figures must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// MB/s, as a multiple of the fastest peer's.
    Rate(f64),
    /// CPU-seconds a GB, as a multiple of the fastest peer's.
    Cpu(f64),
    /// In all rounds together.
    NoFailure,
    NoTimeout,
    /// Resident memory beside the maps, in MB.
    Memory(f64),
}

/// Every client has an address of its own, as machines have: servers share and steer by it.
const ADDRESSES: &str = "127.1.0.0/16";

const ALL_ROUNDS: usize = usize::MAX;

/// Every scenario, in the order of the table.
pub(crate) const ALL: &[Scenario] = &[
    tftp(
        "tftp-1",
        "TFTP, one client, 300 MB, blksize 1468, windowsize 1",
        &["--window", "1"],
        &[Limit::Rate(1.0), Limit::NoFailure],
    ),
    tftp(
        "tftp-16",
        "TFTP, one client, 300 MB, blksize 1468, windowsize 16",
        &["--window", "16"],
        &[Limit::Rate(1.5), Limit::Cpu(0.45), Limit::NoFailure],
    ),
    tftp(
        "tftp-64",
        "TFTP, one client, 300 MB, blksize 1468, windowsize 64",
        &["--window", "64"],
        &[Limit::Rate(2.8), Limit::Cpu(0.3), Limit::NoFailure],
    ),
    Scenario {
        file: "program.bin",
        ..tftp(
            "tftp-64-clients",
            "TFTP, 64 clients at once, 2,000 transfers of 150 KB, windowsize 16",
            &[
                "--clients",
                "64",
                "--from",
                ADDRESSES,
                "--transfers",
                "2000",
            ],
            &[Limit::Rate(2.3), Limit::NoFailure, Limit::NoTimeout],
        )
    },
    Scenario {
        file: "program.bin",
        ..tftp(
            "tftp-500-clients",
            "TFTP, 500 clients at once, 2,000 transfers of 150 KB, windowsize 16",
            &[
                "--clients",
                "500",
                "--from",
                ADDRESSES,
                "--transfers",
                "2000",
            ],
            &[Limit::Rate(4.0), Limit::NoFailure, Limit::NoTimeout],
        )
    },
    Scenario {
        alone: true,
        rounds_max: 1,
        ..tftp(
            "tftp-held",
            "TFTP, 5,000 transfers held open at once",
            // Each asks for a window twice a second: small ones, as firmware wants them.
            &[
                "--clients",
                "5000",
                "--from",
                ADDRESSES,
                "--hold",
                "10",
                "--window",
                "4",
            ],
            &[Limit::Memory(200.0), Limit::NoFailure],
        )
    },
    web(
        "http-1",
        "HTTP, one client, 20 times 300 MB over one connection",
        Protocol::Http,
        &["--keep-alive", "--transfers", "20"],
        &[Limit::Rate(1.2), Limit::Cpu(0.8), Limit::NoFailure],
    ),
    web(
        "http-8",
        "HTTP, 8 clients at once, 24 times 300 MB",
        Protocol::Http,
        &[
            "--keep-alive",
            "--clients",
            "8",
            "--from",
            ADDRESSES,
            "--transfers",
            "24",
        ],
        &[Limit::Rate(1.2), Limit::Cpu(0.8), Limit::NoFailure],
    ),
    web(
        "https-1",
        "HTTPS (TLS 1.2, AES128-GCM), one client, 6 times 300 MB over one connection",
        Protocol::Https,
        &["--keep-alive", "--transfers", "6"],
        &[Limit::Rate(1.0), Limit::Cpu(0.8), Limit::NoFailure],
    ),
    web(
        "https-8",
        "HTTPS (TLS 1.2, AES128-GCM), 8 clients at once, 16 times 300 MB",
        Protocol::Https,
        &[
            "--keep-alive",
            "--clients",
            "8",
            "--from",
            ADDRESSES,
            "--transfers",
            "16",
        ],
        &[Limit::Rate(1.0), Limit::Cpu(0.8), Limit::NoFailure],
    ),
    Scenario {
        file: "five.bin",
        rounds_max: 1,
        ..web(
            "https-2000-clients",
            "HTTPS (TLS 1.2, AES128-GCM), 2,000 connections at once, 5 MB each",
            Protocol::Https,
            &["--clients", "2000", "--from", ADDRESSES],
            &[Limit::NoFailure],
        )
    },
];

const fn tftp(
    name: &'static str,
    about: &'static str,
    arguments: &'static [&'static str],
    limits: &'static [Limit],
) -> Scenario {
    web(name, about, Protocol::Tftp, arguments, limits)
}

const fn web(
    name: &'static str,
    about: &'static str,
    protocol: Protocol,
    arguments: &'static [&'static str],
    limits: &'static [Limit],
) -> Scenario {
    Scenario {
        name,
        about,
        protocol,
        file: "image.bin",
        arguments,
        rounds_max: ALL_ROUNDS,
        alone: false,
        limits,
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL, FILES};

    #[test]
    fn scenarios_have_a_name_of_their_own_and_a_file() {
        for (index, scenario) in ALL.iter().enumerate() {
            assert!(FILES.iter().any(|(file, _)| *file == scenario.file));
            assert!(!scenario.limits.is_empty());
            assert!(
                ALL[..index].iter().all(|other| other.name != scenario.name),
                "{}",
                scenario.name
            );
        }
    }
}
