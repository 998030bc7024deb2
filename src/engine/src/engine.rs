//! Start and stop of the data plane.

mod opened;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::config::{EngineConfig, Seams};
use crate::dhcp_service::DhcpService;
use crate::driver::epoll::Epoll;
use crate::driver::uring::Uring;
use crate::driver::{Driver, Waker};
use crate::error::EngineError;
use crate::gate::{Gate, GateSettings};
use crate::handoff::Replies;
use crate::http_service::HttpService;
use crate::limits;
use crate::listeners::Sockets;
use crate::pacing::Pacing;
use crate::report::Reporter;
use crate::strangers::Strangers;
use crate::tftp_service::{Settings, TftpService};
use crate::worker::{Control, Role, Worker};

pub use opened::Opened;

/// How often [`Engine::drain`] looks whether everything has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A listener that is up, or was left out for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its name, as `--listen` spells it.
    pub name: &'static str,
    /// Where it listens; `None` when it was left out.
    pub address: Option<SocketAddr>,
    /// What the operator should know about it.
    pub note: Option<String>,
}

/// The running data plane. Dropping it stops every worker at once.
#[derive(Debug)]
pub struct Engine {
    driver: &'static str,
    bound: Vec<Bound>,
    replies: Replies,
    pacing: Arc<Pacing>,
    gate: Arc<GateSettings>,
    workers: Vec<Running>,
}

/// A worker's thread.
#[derive(Debug)]
struct Running {
    control: Arc<Control>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What a worker's thread is given at its start.
struct Outfit {
    number: u16,
    /// Bound to a core, one of this many workers.
    pinned: Option<usize>,
    waker: Waker,
    control: Arc<Control>,
    answers: Receiver<(crate::handoff::Ticket, bootstorm_proto::http::BootResponse)>,
    decided: Receiver<crate::handoff::DhcpTicket>,
    files: Receiver<(crate::handoff::FileTicket, crate::handoff::MadeFile)>,
    sockets: Sockets,
    settings: Settings,
    style: bootstorm_proto::dhcp::Style,
    seams: Seams,
    pacing: Arc<Pacing>,
    gate: Gate,
}

impl Engine {
    /// Binds every listener and starts the workers.
    ///
    /// # Errors
    /// [`EngineError`] when a port is taken or forbidden or a driver cannot be set up; nothing
    /// keeps running then.
    pub fn start(config: EngineConfig, seams: Seams) -> Result<Self, EngineError> {
        Self::open(config, seams)?.start()
    }

    /// Binds every listener and does whatever else needs privileges. No thread is left running:
    /// the caller may give up capabilities before [`Opened::start`].
    ///
    /// # Errors
    /// [`EngineError`] when a port is taken or forbidden.
    pub fn open(config: EngineConfig, seams: Seams) -> Result<Opened, EngineError> {
        opened::open(config, seams)
    }

    /// The listeners, in the order of the contract.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// The driver that runs: `uring` or `epoll`.
    #[must_use]
    pub const fn driver(&self) -> &'static str {
        self.driver
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The way back for answers to [`Ask`](crate::handoff::Ask)s.
    #[must_use]
    pub fn replies(&self) -> Replies {
        self.replies.clone()
    }

    /// The limits of rates and machines, to be changed and asked while it runs.
    #[must_use]
    pub const fn pacing(&self) -> &Arc<Pacing> {
        &self.pacing
    }

    /// What judges packets before they are parsed, to be changed and asked while it runs.
    #[must_use]
    pub const fn gate(&self) -> &Arc<GateSettings> {
        &self.gate
    }

    /// Whether every worker still runs; one that ended has logged why.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.workers
            .iter()
            .all(|w| w.thread.as_ref().is_some_and(|t| !t.is_finished()))
    }

    /// Takes no new transfers and connections, lets those under way end for at most `limit`,
    /// then stops. Tells whether everything had ended by itself.
    pub fn drain(self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        for worker in &self.workers {
            worker.control.drain();
            worker.waker.wake();
        }
        loop {
            let idle = self.workers.iter().all(|w| {
                let gone = w.thread.as_ref().is_none_or(JoinHandle::is_finished);
                gone || w.control.is_drained()
            });
            if idle || Instant::now() >= end {
                return idle;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.control.stop();
            worker.waker.wake();
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn spawn(
    driver: &'static str,
    outfit: Outfit,
    ready: Sender<io::Result<()>>,
) -> Result<JoinHandle<()>, EngineError> {
    let worker = usize::from(outfit.number);
    std::thread::Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || {
            if let Some(workers) = outfit.pinned {
                pin(worker, workers);
            }
            let waker = outfit.waker.clone();
            if driver == "uring" {
                work(Uring::new(waker), outfit, &ready);
            } else {
                work(Epoll::new(waker), outfit, &ready);
            }
        })
        .map_err(|source| EngineError::Thread { worker, source })
}

/// The whole life of a worker's thread.
fn work<D: Driver>(driver: io::Result<D>, outfit: Outfit, ready: &Sender<io::Result<()>>) {
    let number = outfit.number;
    let worker = driver.and_then(|driver| equip(driver, outfit));
    let mut worker = match worker {
        Ok(worker) => worker,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    if let Err(error) = worker.run() {
        tracing::error!(worker = number, %error, "the driver failed: this worker has ended");
    }
}

fn equip<D: Driver>(mut driver: D, outfit: Outfit) -> io::Result<Worker<D>> {
    let mut roles = Vec::new();
    let mut requests = Vec::new();
    for (socket, role) in outfit.sockets.udp {
        let address = socket.local_addr()?;
        let id = driver.add_udp(socket)?;
        if matches!(role, Role::Tftp(_)) {
            requests.push((id, address));
        }
        roles.push((id, role));
    }
    let mut listeners = Vec::new();
    for (listener, kind) in outfit.sockets.tcp {
        listeners.push((driver.add_listener(listener)?, kind));
    }
    let seams = outfit.seams;
    let reporter = Reporter::new(seams.events.clone(), Arc::clone(&seams.metrics));
    let dhcp = DhcpService::new(outfit.style, Arc::clone(&seams.decide), reporter.clone())
        .asking(outfit.number, seams.questions.clone());
    let catalog = Arc::clone(&seams.catalog);
    let now = driver.now();
    let tftp = TftpService::new(outfit.settings, &requests, catalog, reporter.clone(), now).asking(
        outfit.number,
        Arc::clone(&seams.decide),
        seams.files.clone(),
    );
    Ok(Worker {
        driver,
        roles,
        listeners,
        answers: outfit.answers,
        decided: outfit.decided,
        files: outfit.files,
        gate: outfit.gate,
        reporter,
        strangers: Strangers::default(),
        dhcp,
        tftp: tftp.paced(Arc::clone(&outfit.pacing)),
        http: HttpService::new(outfit.number, seams).paced(outfit.pacing),
        control: outfit.control,
        draining: false,
        scratch: Vec::with_capacity(limits::STREAM_BUFFER),
    })
}

/// Binds the calling thread to a core, when there is one for each worker.
fn pin(worker: usize, workers: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&c| allowed.is_set(c))
        .collect();
    if workers > cores.len() {
        return;
    }
    let mut own = CpuSet::new();
    own.set(cores[worker]);
    if let Err(error) = sched_setaffinity(None, &own) {
        tracing::debug!(%error, worker, "the worker is not bound to a core");
    }
}
