//! `bootstorm serve`.

use std::process::ExitCode;

use bootstorm_config::{Config, Driver, InterfaceChoice, Listen, LogFormat, Xdp};
use clap::{Args, ValueEnum};

use super::{ConfigArgs, UsageError};
use crate::{compose, translate};

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    common: ConfigArgs,
    /// Answer on this interface only, or not on it with `!` before it: name, address or MAC
    /// address; may be given more than once
    #[arg(long = "interface", value_name = "NAME")]
    interfaces: Vec<InterfaceChoice>,
    /// Move or switch off a listener: dhcp, pxe, dhcp6, tftp, http, https, web, syslog
    #[arg(long, value_name = "NAME=ADDR:PORT|NAME=off")]
    listen: Vec<String>,
    /// Name of this host in the URLs and in the certificate, instead of its addresses
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Entry that machines boot without being asked; the default is the local disk
    #[arg(long, value_name = "ENTRY")]
    boot: Option<String>,
    /// How packets get in and out
    #[arg(long, value_enum)]
    driver: Option<DriverArg>,
    /// Where packets are sorted before they cost anything: the network driver, the kernel's
    /// generic hook, or the server itself
    #[arg(long, value_enum)]
    xdp: Option<XdpArg>,
    /// Detach another XDP program from an interface to make room
    #[arg(long)]
    xdp_replace: bool,
    /// Worker threads of the data plane; without it one a core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Form of the log on standard error
    #[arg(long, value_enum)]
    log_format: Option<LogFormatArg>,
    /// What is logged: error, warn, info, debug, trace, or a filter by module
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  sudo bootstorm serve --images ./images
  sudo bootstorm serve --images /srv/images --interface eth0 --boot debian
  bootstorm serve --listen dhcp=off --listen pxe=off --listen tftp=127.0.0.1:6969
                                              no privileges needed; for trying things out

Prints a line for each listener that is up and then `ready` on standard output; logs go to standard
error. SIGTERM and Ctrl-C let transfers end (30 s at most); SIGHUP reads the configuration again and
keeps the old one if the new one is wrong.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DriverArg {
    Auto,
    Uring,
    Epoll,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum XdpArg {
    Auto,
    Native,
    Generic,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

/// Runs the server until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => return Ok(error.exit()),
    };
    let format = match config.log_format {
        LogFormat::Text => bootstorm_telemetry::logging::Format::Text,
        LogFormat::Json => bootstorm_telemetry::logging::Format::Json,
    };
    if let Err(error) = bootstorm_telemetry::logging::init(format, args.log_level.as_deref()) {
        return Ok(UsageError::from(error.to_string()).exit());
    }
    // Wrong names are told before anything is made or bound.
    if let Err(error) = translate::engine_config(&config) {
        return Ok(UsageError::from(error.to_string()).exit());
    }
    compose::serve(config, &|| args.config().map_err(|error| error.to_string()))
}

impl ServeArgs {
    /// The file's configuration with the flags on top; read again at SIGHUP.
    fn config(&self) -> Result<Config, UsageError> {
        let mut config = self.common.config()?;
        if !self.interfaces.is_empty() {
            config.interfaces.clone_from(&self.interfaces);
        }
        set_listeners(&mut config.listen, &self.listen)?;
        if self.host.is_some() {
            config.host.clone_from(&self.host);
        }
        if self.boot.is_some() {
            config.boot.default.clone_from(&self.boot);
        }
        if let Some(workers) = self.workers.and_then(std::num::NonZeroU16::new) {
            config.workers = Some(workers);
        }
        if let Some(driver) = self.driver {
            config.driver = match driver {
                DriverArg::Auto => Driver::Auto,
                DriverArg::Uring => Driver::Uring,
                DriverArg::Epoll => Driver::Epoll,
            };
        }
        if let Some(xdp) = self.xdp {
            config.xdp = match xdp {
                XdpArg::Auto => Xdp::Auto,
                XdpArg::Native => Xdp::Native,
                XdpArg::Generic => Xdp::Generic,
                XdpArg::Off => Xdp::Off,
            };
        }
        config.xdp_replace |= self.xdp_replace;
        if let Some(format) = self.log_format {
            config.log_format = match format {
                LogFormatArg::Text => LogFormat::Text,
                LogFormatArg::Json => LogFormat::Json,
            };
        }
        super::lint_flags(&config)?;
        Ok(config)
    }
}

fn set_listeners(listen: &mut Listen, assignments: &[String]) -> Result<(), UsageError> {
    for assignment in assignments {
        listen
            .set(assignment)
            .map_err(|error| UsageError::from(format!("--listen: {error}")))?;
    }
    Ok(())
}
