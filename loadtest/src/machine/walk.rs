//! A boot, step by step: firmware's DHCP, the boot program, and what that goes on with.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use super::body::Keep;
use super::dhcp::{Assignment, Exchange};
use super::event::{Outcome, Phase};
use super::httpboot::HttpProgram;
use super::io::{Input, Output, Progress, Step, World};
use super::ipxe::{self, Verdict};
use super::profile::Profile;
use super::tftp::{Client, Transfer, Wish};
use super::windows;

/// How far a boot is. Steps are boxed: a machine has one of them at a time.
#[derive(Debug)]
pub(super) enum Walk {
    /// Firmware asks by DHCP.
    Firmware(Box<Exchange>),
    /// Firmware fetches the boot program.
    Program {
        transfer: Box<Transfer>,
        server: Ipv4Addr,
        /// Option 252.
        store: Option<String>,
    },
    /// The same by HTTP.
    HttpProgram(Box<HttpProgram>),
    /// iPXE asks by DHCP.
    Loader(Box<Exchange>),
    /// iPXE boots.
    Script(Box<ipxe::Boot>),
    /// Windows' boot manager boots.
    Windows(Box<windows::Boot>),
}

impl Walk {
    /// Begins with the machine's first DISCOVER.
    pub(super) fn start(world: &mut World<'_>) -> Self {
        match world.identity.profile.firmware() {
            Some(firmware) => Self::Firmware(Box::new(Exchange::start(firmware, world))),
            None => Self::loader(world),
        }
    }

    fn loader(world: &mut World<'_>) -> Self {
        world.want(Output::Forget);
        let program = world.identity.profile.ipxe();
        Self::Loader(Box::new(Exchange::start(program, world)))
    }

    /// Firmware knows what to load.
    fn program(assigned: &Assignment, world: &mut World<'_>) -> Self {
        let Assignment { server, file, .. } = assigned;
        let client = match world.identity.profile {
            Profile::UefiHttp | Profile::UefiHttps => {
                return Self::HttpProgram(Box::new(HttpProgram::start(file, world)));
            }
            Profile::Bios => Client::Rom,
            Profile::Uefi | Profile::IpxeHttp | Profile::IpxeHttps | Profile::WindowsTftp => {
                Client::Edk2
            }
        };
        let wish = Wish {
            server: SocketAddrV4::new(*server, world.plan.ports.tftp),
            file: file.clone(),
            keep: Keep::Discard,
            client,
        };
        Self::Program {
            transfer: Box::new(Transfer::start(wish, world)),
            server: *server,
            store: assigned.store.clone(),
        }
    }

    /// The boot program is there and runs, unless that was all.
    fn loaded(run: impl FnOnce(&mut World<'_>) -> Self, world: &mut World<'_>) -> Next {
        world.reached(Phase::Program);
        if world.plan.until == Phase::Program {
            world.reached(Phase::Booted);
            return Next::End(Outcome::Booted);
        }
        Next::Step(run(world))
    }

    fn next(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Next> {
        match self {
            Self::Firmware(exchange) => exchange
                .handle(input, world)
                .map(|assigned| Next::Step(Self::program(&assigned, world))),
            Self::Program {
                transfer,
                server,
                store,
            } => {
                let run = |world: &mut World<'_>| match world.identity.profile {
                    Profile::WindowsTftp => {
                        let boot = windows::Boot::start(*server, store.take(), world);
                        Self::Windows(Box::new(boot))
                    }
                    _ => Self::loader(world),
                };
                let progress = transfer.handle(input, world);
                progress.map(|_| Self::loaded(run, world))
            }
            Self::HttpProgram(program) => {
                let progress = program.handle(input, world);
                progress.map(|_| Self::loaded(Self::loader, world))
            }
            Self::Loader(exchange) => exchange.handle(input, world).map(|assigned| {
                let Assignment { server, file, .. } = assigned;
                let boot = ipxe::Boot::start(&file, server, world);
                Next::Step(Self::Script(Box::new(boot)))
            }),
            Self::Script(boot) => boot.handle(input, world).map(|verdict| {
                Next::End(match verdict {
                    Verdict::Booted => Outcome::Booted,
                    Verdict::LocalDisk => Outcome::LocalDisk,
                })
            }),
            Self::Windows(boot) => boot
                .handle(input, world)
                .map(|()| Next::End(Outcome::Booted)),
        }
    }
}

/// What follows a step.
enum Next {
    Step(Walk),
    End(Outcome),
}

impl Step for Walk {
    type Made = Outcome;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Outcome> {
        match self.next(input, world) {
            Progress::Done(Next::Step(step)) => {
                *self = step;
                Progress::Going
            }
            Progress::Done(Next::End(outcome)) => Progress::Done(outcome),
            Progress::Going => Progress::Going,
            Progress::Failed(finding) => Progress::Failed(finding),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Firmware(exchange) | Self::Loader(exchange) => exchange.deadline(),
            Self::Program { transfer, .. } => transfer.deadline(),
            Self::HttpProgram(program) => program.deadline(),
            Self::Script(boot) => boot.deadline(),
            Self::Windows(boot) => boot.deadline(),
        }
    }
}
