//! The packets of real firmware in the form that each fuzz target reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files;
use crate::workspace;

/// Writes the seeds of a target into `folder`.
pub(super) fn write(target: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (number, seed) in seeds(target)?.iter().enumerate() {
        fs::write(folder.join(format!("{number:04}")), seed)?;
    }
    Ok(())
}

fn seeds(target: &str) -> Result<Vec<Vec<u8>>> {
    Ok(match target {
        "dhcp4" => dhcp4()?,
        "dhcp6" => packets("-dhcp6")?.into_iter().map(|(_, p)| p).collect(),
        "tftp" => tftp()?,
        "http_head" => http()?,
        "ipxe_params" => contents("-http-body.txt")?,
        _ => Vec::new(),
    })
}

/// Each packet with a byte of choices in front, for both ports and every style.
fn dhcp4() -> Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for (_, packet) in packets("-dhcp-")? {
        for choice in [0, 1, 4, 8, 16, 29] {
            seeds.push([&[choice], packet.as_slice()].concat());
        }
    }
    Ok(seeds)
}

/// A request and the packets that its folder holds up to the next one.
fn tftp() -> Result<Vec<Vec<u8>>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (path, packet) in packets("-tftp-")? {
        let framed = frame(&packet)?;
        match seeds.last_mut() {
            Some(open) if !path.to_string_lossy().ends_with("-rrq.hex") => open.extend(framed),
            _ => seeds.push(framed),
        }
    }
    Ok(seeds)
}

/// The packet behind its length, with no wait before it.
fn frame(packet: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(packet.len().min(0x3ff))?;
    Ok([&length.to_be_bytes(), packet].concat())
}

fn http() -> Result<Vec<Vec<u8>>> {
    let heads = contents("-http-head.txt")?;
    Ok(heads
        .iter()
        .map(|head| [&[255], head.as_slice()].concat())
        .collect())
}

fn contents(ending: &str) -> Result<Vec<Vec<u8>>> {
    let paths = files(&fixtures(), ending)?;
    Ok(paths.iter().map(fs::read).collect::<std::io::Result<_>>()?)
}

/// What the machine sent, of a kind.
fn packets(kind: &str) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for path in files(&fixtures(), ".hex")? {
        let name = path.to_string_lossy();
        if !name.contains(kind) || name.ends_with(".reply.hex") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let digits: String = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::split_whitespace)
            .collect();
        let bytes = hex::decode(digits).with_context(|| path.display().to_string())?;
        found.push((path, bytes));
    }
    Ok(found)
}

fn fixtures() -> PathBuf {
    workspace::root().join("tests/fixtures")
}
