//! The data plane before its threads: whatever needs privileges is done, nothing runs.

use std::io;
use std::sync::Arc;

use crossbeam_channel::bounded;

use super::{Bound, Engine, Outfit, Running, spawn};
use crate::config::{DataPorts, DriverChoice, EngineConfig, Seams};
use crate::driver::uring;
use crate::driver::{self, Waker};
use crate::error::EngineError;
use crate::gate::{Gate, GateSettings};
use crate::handoff::{Lane, Replies};
use crate::limits;
use crate::listeners::{self, Listeners};
use crate::pacing::Pacing;
use crate::tftp_service::Settings;
use crate::worker::Control;

/// A data plane whose ports are open and whose workers do not run. Dropping it closes the ports.
#[must_use = "nobody is answered before it is started"]
pub struct Opened {
    driver: &'static str,
    config: EngineConfig,
    seams: Seams,
    listeners: Listeners,
    /// One for each worker.
    settings: Vec<Settings>,
    gate: Arc<GateSettings>,
}

impl Opened {
    /// The listeners, in the order of the contract.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.listeners.bound
    }

    /// What judges packets before they are parsed: for the rules of the first one.
    #[must_use]
    pub const fn gate(&self) -> &Arc<GateSettings> {
        &self.gate
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`EngineError`] when a driver cannot be set up; nothing keeps running then.
    pub fn start(self) -> Result<Engine, EngineError> {
        let Self {
            driver,
            config,
            seams,
            listeners,
            settings,
            gate,
        } = self;
        let workers = settings.len();
        let mut engine = Engine {
            driver,
            bound: listeners.bound,
            replies: Replies::new(Vec::new()),
            pacing: Arc::new(Pacing::new(config.pacing, Arc::clone(&seams.metrics))),
            gate,
            workers: Vec::with_capacity(workers),
        };
        let mut lanes = Vec::with_capacity(workers);
        let (ready, started) = bounded(workers);
        for (number, (sockets, settings)) in listeners.workers.into_iter().zip(settings).enumerate()
        {
            let waker = Waker::new().map_err(|source| EngineError::Driver { driver, source })?;
            let (answers, inbox) = bounded(limits::ANSWERS);
            let (tell_decided, decided) = bounded(limits::DECISIONS);
            let (make, files) = bounded(limits::MADE_FILES);
            let control = Arc::new(Control::default());
            let gate = Gate::new(&engine.gate, number);
            lanes.push(Lane {
                answers,
                decided: tell_decided,
                files: make,
                waker: waker.clone(),
            });
            let outfit = Outfit {
                number: number as u16,
                pinned: config.pin.then_some(workers),
                waker: waker.clone(),
                control: Arc::clone(&control),
                answers: inbox,
                decided,
                files,
                sockets,
                settings,
                style: config.style.clone(),
                seams: seams.clone(),
                pacing: Arc::clone(&engine.pacing),
                gate,
            };
            let thread = spawn(driver, outfit, ready.clone())?;
            engine.workers.push(Running {
                control,
                waker,
                thread: Some(thread),
            });
        }
        drop(ready);
        for _ in 0..workers {
            match started.recv() {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(EngineError::Driver { driver, source }),
                Err(_) => {
                    let source = io::Error::other("a worker ended before it was ready");
                    return Err(EngineError::Driver { driver, source });
                }
            }
        }
        engine.replies = Replies::new(lanes);
        Ok(engine)
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("driver", &self.driver)
            .field("bound", &self.listeners.bound)
            .finish_non_exhaustive()
    }
}

/// [`Engine::open`].
pub(super) fn open(config: EngineConfig, seams: Seams) -> Result<Opened, EngineError> {
    let driver = choose(config.driver)?;
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        asked => asked,
    }
    .min(limits::WORKERS);
    raise_descriptors();
    let tls = seams.tls.as_deref();
    if tls.is_some_and(|tls| tls.enable_secret_extraction) {
        look_for_kernel_tls();
    }
    let settings = settings(&config, workers)?;
    let listeners = listeners::open(&config, workers, tls.is_some())?;
    Ok(Opened {
        driver,
        config,
        seams,
        listeners,
        settings,
        gate: Arc::new(GateSettings::new(workers)),
    })
}

fn choose(choice: DriverChoice) -> Result<&'static str, EngineError> {
    match (choice, uring::probe()) {
        (DriverChoice::Epoll, _) => Ok("epoll"),
        (_, Ok(())) => Ok("uring"),
        (DriverChoice::Auto, Err(error)) => {
            tracing::info!(%error, "io_uring cannot be used here: the epoll driver runs instead");
            Ok("epoll")
        }
        (DriverChoice::Uring, Err(source)) => Err(EngineError::RingForbidden { source }),
    }
}

/// Says once whether connections can be left to the kernel.
fn look_for_kernel_tls() {
    match driver::kernel_tls() {
        Ok(()) => tracing::info!("the kernel encrypts large responses"),
        Err(error) => tracing::warn!(
            %error,
            "this kernel has no TLS, which tls.kernel asks for: load its module with \
             `sudo modprobe tls` and start again; bootstorm goes on encrypting by itself"
        ),
    }
}

/// What TFTP grants in each worker: the same, but for the ports.
fn settings(config: &EngineConfig, workers: usize) -> Result<Vec<Settings>, EngineError> {
    let tftp = &config.transfers;
    let wrong = |what: String| Err(EngineError::Config(what));
    if !(1..=limits::TFTP_WINDOW_MAX).contains(&tftp.max_window) {
        let (given, max) = (tftp.max_window, limits::TFTP_WINDOW_MAX);
        return wrong(format!("TFTP window {given} is not between 1 and {max}"));
    }
    let ports: Option<Vec<u16>> = match &tftp.ports {
        DataPorts::Single => None,
        DataPorts::Range(range) => Some(range.clone().filter(|port| *port != 0).collect()),
    };
    if let Some(ports) = &ports
        && ports.len() < workers
        && config.tftp.is_some()
    {
        let given = ports.len();
        return wrong(format!(
            "{given} TFTP data ports are too few for {workers} workers: each needs its own"
        ));
    }
    let max_window = u32::from(tftp.max_window).try_into();
    let max_block = u32::from(tftp.max_block).try_into();
    let (Ok(max_window), Ok(max_block)) = (max_window, max_block) else {
        let given = tftp.max_block;
        return wrong(format!(
            "TFTP block size {given} is not between 8 and 65464"
        ));
    };
    let rollover = match tftp.rollover {
        0 => bootstorm_proto::tftp::Rollover::Zero,
        1 => bootstorm_proto::tftp::Rollover::One,
        given => {
            return wrong(format!(
                "TFTP block numbers cannot go on with {given}: 0 or 1"
            ));
        }
    };
    let settings = (0..workers).map(|worker| Settings {
        max_window,
        max_block,
        rollover,
        max_per_client: tftp.max_transfers_per_client,
        ports: ports.as_ref().map(|ports| {
            ports
                .iter()
                .copied()
                .skip(worker)
                .step_by(workers)
                .collect()
        }),
    });
    Ok(settings.collect())
}

/// Every connection and TFTP data port is a descriptor: takes as many as the system lets us.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}
