//! One run of the measuring client against one server.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bootstorm_e2e::command;
use bootstorm_e2e::process::Running;
use bootstorm_e2e::stop;
use serde_json::Value;

use super::scenario::{Limit, Protocol, Scenario};
use super::server::Server;
use super::table::Sample;

/// A server that has not delivered by then is given up.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs the scenario's client once.
pub(crate) fn measure(
    load: &Path,
    scenario: &Scenario,
    server: &mut Server,
    folder: &Path,
) -> Result<Sample> {
    let mut client = Command::new(load);
    client.arg("fetch").arg(server.url(scenario.file));
    client.arg("--json").args(scenario.arguments);
    if scenario.protocol == Protocol::Https {
        client.args(["--tls12", "--insecure"]);
    }
    let before = server.cpu()?;
    let mut running = Running::start("client", folder, client)?;
    let sizes = scenario
        .limits
        .iter()
        .any(|limit| matches!(limit, Limit::Memory(_)));
    let mut memory: u64 = 0;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = running.ended()? {
            break Some(status);
        }
        if stop::asked() {
            bail!("interrupted");
        }
        if begun.elapsed() > LIMIT {
            running.stop()?;
            break None;
        }
        if sizes {
            memory = memory.max(server.memory()?);
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let cpu = server.cpu()?.saturating_sub(before);
    // Ctrl-C reaches the servers too: that they end then is no news.
    if stop::asked() {
        bail!("interrupted");
    }
    server.check()?;
    let Some(status) = status else {
        return Ok(Sample::given_up(LIMIT, cpu));
    };
    let said = command::read(running.stdout())?;
    if said.trim().is_empty() {
        let log = command::read(running.stderr())?;
        bail!("the client ended with {status}: {log}");
    }
    let mut sample = sample(&said, cpu)?;
    sample.memory = memory;
    Ok(sample)
}

fn sample(said: &str, cpu: Duration) -> Result<Sample> {
    let said: Value = serde_json::from_str(said).context("the client's result")?;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("no {name}"));
    let count = |name: &str| said[name].as_u64().with_context(|| format!("no {name}"));
    Ok(Sample {
        bytes: count("bytes")?,
        seconds: number("seconds")?,
        cpu: cpu.as_secs_f64(),
        client_cpu: number("cpu_s")?,
        failed: count("failed")?,
        timeouts: count("timeouts")?,
        memory: 0,
        jain: number("jain")?,
        granted: said["granted"].as_str().map(str::to_owned),
    })
}
