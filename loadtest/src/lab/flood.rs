//! What is sent to the server beside the machines' packets: `bootstorm-load flood`, from a
//! namespace of its own.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};

use anyhow::Context as _;
use clap::ValueEnum as _;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::network::{INTERFACE, Namespace, SERVER_MAC};
use crate::flood::frames::Kind;
use crate::scenario::Flood;

/// A running flood; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Sender(Child);

/// What was sent.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sent {
    /// Frames a second.
    pub(super) rate: f64,
}

impl Sender {
    /// Starts it; the server gets a second of it before this returns.
    pub(super) fn start(from: &Namespace, flood: &Flood, server: Ipv4Addr) -> anyhow::Result<Self> {
        let kinds: Vec<String> = flood
            .kinds
            .iter()
            .filter_map(|kind| kind.to_possible_value())
            .map(|kind| kind.get_name().to_owned())
            .collect();
        // Who asks for a file needs an address to get it at; the others are machines without one.
        let to = if flood.kinds.contains(&Kind::Requests) {
            server
        } else {
            Ipv4Addr::BROADCAST
        };
        let program = std::env::current_exe()?;
        let mut command = from.command(&program.to_string_lossy());
        command
            .args(["flood", "--interface", INTERFACE, "--json"])
            .args([
                "--kind",
                &kinds.join(","),
                "--rate",
                &flood.rate.to_string(),
            ])
            .args(["--to", &to.to_string(), "--to-mac", SERVER_MAC])
            .args(["--seconds", "86400"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut sender = Self(command.spawn().context("the flood cannot be started")?);
        let log = sender.0.stderr.take().context("no log of the flood")?;
        let mut log = BufReader::new(log);
        // It says each second what it sent.
        let mut line = String::new();
        log.read_line(&mut line)?;
        if let Some(status) = sender.0.try_wait()? {
            anyhow::bail!("the flood ended with {status}: {}", line.trim_end());
        }
        // What it says later is read and dropped, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(sender)
    }

    /// Ends it and tells what it sent.
    pub(super) fn stop(mut self) -> anyhow::Result<Sent> {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::INT).context("the flood ended too early")?;
        }
        let said = self.0.stdout.take().context("no result of the flood")?;
        let sent = serde_json::from_reader(said).context("the flood did not tell what it sent")?;
        self.0.wait()?;
        Ok(sent)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // After `stop` there is nobody to end.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
