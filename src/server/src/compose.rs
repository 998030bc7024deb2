//! The one file that knows every crate: puts the planes together, runs them, takes them apart.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use bootstorm_catalog::Catalog;
use bootstorm_config::{Config, KernelTls};
use bootstorm_control::{
    About, AdminToken, Admission, Authority, AuthorityConfig, BootPages, BootSeams, Clients,
    Decisions, FileWanted, Hear, OwnCertificate, Place, Web, WebConfig, WebSeams,
};
use bootstorm_engine::handoff::{Ask, Decide, FileQuestion, Question};
use bootstorm_engine::pacing::{Pacing, Turn};
use bootstorm_engine::tls::{TlsOptions, resolving_config};
use bootstorm_engine::{Engine, Opened, Seams};
use bootstorm_ingest::{Ingest, IngestConfig, Pins};
use bootstorm_policy::windows::WindowsFile;
use bootstorm_policy::{Decided, Policy, Ports, Rules};
use bootstorm_proto::dhcp::{Answer, ClientFacts};
use bootstorm_proto::types::MacAddress;
use bootstorm_providers::Runner;
use bootstorm_telemetry::event::BootEvent;
use bootstorm_telemetry::metrics::Metrics;
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::classifier::Classifier;
use crate::kept::Kept;
use crate::remote::{self, Remotes};
use crate::{network, syslog, translate};

/// Requests of the data plane that may wait for the control plane.
const ASKS_MAX: usize = 4096;
/// Requests for files that are made which may wait for the control plane.
const FILES_MAX: usize = 1024;
/// Events that may wait for the control plane.
const EVENTS_MAX: usize = 65_536;
/// How long machines are not answered for the images folder's sake.
const RECALL: Duration = Duration::from_secs(2);
/// How long transfers may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);
/// How often certificate and addresses are looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(3600);
/// How often files and interfaces are looked at that the policy goes by.
const POLICY_CHECK: Duration = Duration::from_secs(2);

/// Runs the server until SIGTERM or SIGINT. `reload` reads the configuration again.
pub(crate) fn serve(
    config: Config,
    reload: &dyn Fn() -> Result<Config, String>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no event loop for the control plane")?;
    runtime.block_on(async {
        // One of each: what is sent while the server starts, or right after `ready`, still counts.
        let hangup = signal(SignalKind::hangup()).context("no handler for SIGHUP")?;
        let mut stopped = pin!(stop_signal());
        let Some(server) = Server::start(config, stopped.as_mut()).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        server.run(hangup, stopped, reload).await
    })
}

/// Everything that runs.
struct Server {
    engine: Engine,
    ingest: Arc<Ingest>,
    pins: Pins,
    policy: Arc<Policy>,
    runner: Arc<Runner>,
    kept: Kept,
    authority: Arc<Authority>,
    classifier: Arc<Classifier>,
    web: Option<Web>,
    config: Config,
}

/// What several parts share.
struct Shared {
    metrics: Arc<Metrics>,
    catalog: Arc<Catalog>,
    policy: Arc<Policy>,
    decided: Decided,
    decisions: Decisions,
    authority: Arc<Authority>,
    events: Sender<BootEvent>,
}

/// What was opened with privileges that are gone by now.
struct Privileged {
    shared: Shared,
    classifier: Arc<Classifier>,
    engine: Opened,
    asks: Receiver<Ask>,
    questions: Receiver<Question>,
    wanted: Receiver<FileQuestion>,
    heard: Receiver<BootEvent>,
}

impl Server {
    /// Starts every part, prints the listeners and, when the images are ready, `ready`. `None`:
    /// told to stop before that.
    async fn start(
        config: Config,
        stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Option<Self>> {
        let Privileged {
            shared,
            classifier,
            engine,
            asks,
            questions,
            wanted,
            heard,
        } = Privileged::open(&config)?;
        let metrics = Arc::clone(&shared.metrics);
        let kept = Kept::open(&config, &shared.policy, shared.events.clone(), metrics).await?;
        let mut hearers: Vec<Box<dyn Hear>> = vec![Box::new(kept.history.clone())];
        if let Some(collector) = syslog::collector(&config, &shared.metrics)? {
            hearers.push(Box::new(collector));
        }
        let clients = Clients::start(heard, Arc::clone(&shared.metrics), hearers)?;
        let policy = Arc::clone(&shared.policy);
        let providers = remote::providers(&config).map_err(anyhow::Error::msg)?;
        let runner = Arc::new(Runner::new(policy, providers));
        let pages = BootPages::new(BootSeams {
            policy: Arc::clone(&shared.policy),
            clients: clients.clone(),
            authority: Arc::clone(&shared.authority),
            machines: Arc::clone(&kept.machines),
            approvals: Arc::clone(&kept.approvals),
            boots: kept.boots.clone(),
            history: kept.history.clone(),
            tokens: bootstorm_control::tokens(&config.data)?,
            consult: Arc::new(Remotes(Arc::clone(&runner))),
            events: shared.events.clone(),
            metrics: Arc::clone(&shared.metrics),
        });
        let known = kept.machines.known();
        classifier.know(known.borrow().iter().copied());
        classifier.join(&engine);
        let ingest = start_ingest(&config, &shared).await?;
        let engine = start_engine(engine, asks, wanted, pages)?;
        let approvals = Arc::clone(&kept.approvals);
        remote::answer_questions(questions, engine.replies(), Arc::clone(&runner), approvals)?;
        tokio::spawn(follow(Arc::clone(&classifier), known));
        let web = start_web(&config, &shared, &clients, &kept, &classifier, &engine).await?;
        let syslog = syslog::start(config.listen.syslog, &shared.events, &shared.metrics).await;
        announce(&config, &engine, web.as_ref(), syslog)?;
        let catalog = Arc::clone(&shared.catalog);
        tokio::spawn(Arc::clone(&kept.machines).follow(&clients));
        let server = Self {
            engine,
            ingest,
            pins: start_pins(&config, &shared)?,
            policy: shared.policy,
            runner,
            kept,
            authority: shared.authority,
            classifier,
            web,
            config,
        };
        let ingest = Arc::clone(&server.ingest);
        tokio::select! {
            _ = tokio::task::spawn_blocking(move || ingest.first_pass()) => {}
            () = stopped => {
                server.stop().await;
                return Ok(None);
            }
        }
        warn_of_default(&server.config, &catalog);
        say("ready")?;
        Ok(Some(server))
    }

    /// Serves until told to stop.
    async fn run(
        mut self,
        mut hangup: Signal,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
        reload: &dyn Fn() -> Result<Config, String>,
    ) -> anyhow::Result<ExitCode> {
        let mut certificate = tokio::time::interval(CERTIFICATE_CHECK);
        let mut policy = tokio::time::interval(POLICY_CHECK);
        loop {
            tokio::select! {
                () = &mut stopped => break,
                _ = hangup.recv() => {
                    self.reload(reload);
                    self.refresh_certificate();
                }
                _ = certificate.tick() => self.refresh_certificate(),
                _ = policy.tick() => refresh_policy(&self.policy),
            }
        }
        self.stop().await;
        Ok(ExitCode::SUCCESS)
    }

    /// Takes a new configuration if it is good; what needs a restart is named.
    fn reload(&mut self, reload: &dyn Fn() -> Result<Config, String>) {
        let read = reload().and_then(|config| Ok((remote::providers(&config)?, config)));
        let (providers, config) = match read {
            Ok(read) => read,
            Err(problems) => {
                error!(
                    code = "config.not-reloaded",
                    "the old configuration stays: {problems}"
                );
                return;
            }
        };
        self.policy.set_rules(Rules::from(&config));
        self.runner.set_providers(providers);
        self.kept.configure(&config);
        self.engine.pacing().set(translate::pacing(&config));
        self.classifier.configure(&config);
        self.ingest.rescan();
        self.pins.set_budget(translate::pin_budget(&config));
        let fixed = translate::needs_restart(&self.config, &config);
        if fixed.is_empty() {
            info!("configuration read again");
        } else {
            warn!(
                code = "config.needs-restart",
                "configuration read again; these take effect at the next start: {}",
                fixed.join(", ")
            );
        }
        self.config = config;
    }

    fn refresh_certificate(&self) {
        match self.authority.refresh() {
            Ok(true) => info!("the server's certificate is a new one"),
            Ok(false) => {}
            Err(error) => error!("the certificate in use stays: {error}"),
        }
    }

    async fn stop(self) {
        info!("stopping: transfers may end for {} s", DRAIN.as_secs());
        if let Some(web) = self.web {
            web.shutdown(Duration::from_secs(1)).await;
        }
        let engine = self.engine;
        match tokio::task::spawn_blocking(move || engine.drain(DRAIN)).await {
            Ok(true) => info!("stopped"),
            _ => warn!(code = "engine.drain", "stopped with transfers under way"),
        }
        self.kept.store.close().await;
    }
}

/// Tells the policy what has changed around it.
fn refresh_policy(policy: &Policy) {
    match network::interfaces() {
        Ok(found) => policy.set_interfaces(found.into_iter().map(|i| (i.index, i.name))),
        Err(error) => warn!("the interfaces cannot be read: {error:#}"),
    }
    if let Err(reason) = policy.refresh(SystemTime::now()) {
        warn!(code = reason.code, "{}", reason.text);
    }
}

/// The policy, as the data plane asks it.
struct Decision(Arc<Policy>);

impl Decide for Decision {
    fn dhcp(&self, client: &ClientFacts) -> Answer {
        self.0.dhcp(client)
    }

    fn makes(&self, name: &str) -> bool {
        WindowsFile::of_name(name).is_some()
    }
}

/// The data plane's queue, as scripts ask it.
#[derive(Debug)]
struct Turns(Arc<Pacing>);

impl Admission for Turns {
    fn ask(&self, machine: IpAddr) -> Option<Place> {
        match self.0.ask(machine, Instant::now()) {
            Turn::Now => None,
            Turn::Later(place) => Some(Place {
                number: place.number,
                of: place.of,
                about: place.about,
            }),
        }
    }
}

/// Returns at SIGTERM or SIGINT.
pub(crate) async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The data folder holds keys: nobody else looks in.
fn make_data_folder(data: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| {
            format!(
                "the data folder {} cannot be made [data.no-folder]; name another with --data",
                data.display()
            )
        })
}

impl Shared {
    fn new(config: &Config, events: Sender<BootEvent>) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let catalog = Arc::new(Catalog::default());
        let (rules, ports) = (Rules::from(config), Ports::from(&config.listen));
        let policy = Policy::new(rules, ports, Arc::clone(&catalog));
        let tokens = bootstorm_control::tokens(&config.data)?;
        let (policy, decided) = policy.sealing(tokens).telling();
        let authority = Arc::new(Authority::open(authority_config(config))?);
        for warning in &authority.identity().warnings {
            warn!(code = warning.code, "{}", warning.text);
        }
        Ok(Self {
            metrics,
            catalog,
            policy: Arc::new(policy),
            decided,
            decisions: Decisions::default(),
            authority,
            events,
        })
    }
}

impl Privileged {
    /// Attaches the classifier and opens the ports, then gives up what that took. Threads that are
    /// made later never had it.
    fn open(config: &Config) -> anyhow::Result<Self> {
        make_data_folder(&config.data)?;
        let (events, heard) = bounded(EVENTS_MAX);
        let shared = Shared::new(config, events)?;
        let classifier = Classifier::start(config, shared.events.clone())?;
        let options = TlsOptions {
            dhe: config.tls.dhe,
            kernel: config.tls.kernel == KernelTls::Auto,
        };
        let (ask, asks) = bounded(ASKS_MAX);
        let (question, questions) = bounded(remote::QUESTIONS_MAX);
        let (want, wanted) = bounded(FILES_MAX);
        let seams = Seams {
            catalog: Arc::clone(&shared.catalog),
            decide: Arc::new(Decision(Arc::clone(&shared.policy))),
            asks: ask,
            questions: Some(question),
            files: Some(want),
            events: shared.events.clone(),
            tls: Some(resolving_config(shared.authority.resolver(), options)?),
            metrics: Arc::clone(&shared.metrics),
        };
        let engine = Engine::open(translate::engine_config(config)?, seams)
            .map_err(|error| anyhow::anyhow!("{error} [{}]", error.code()))?;
        if let Err(error) = bootstorm_xdp::give_up_capabilities() {
            warn!(code = error.code(), "{error}");
        }
        let metrics = Arc::clone(&shared.metrics);
        shared.decisions.keep(shared.decided.clone(), metrics)?;
        Ok(Self {
            shared,
            classifier: Arc::new(classifier),
            engine,
            asks,
            questions,
            wanted,
            heard,
        })
    }
}

/// Scripts, certificates and reports are made by threads of their own: a slow one delays no packet.
fn start_engine(
    engine: Opened,
    asks: Receiver<Ask>,
    wanted: Receiver<FileQuestion>,
    pages: BootPages,
) -> anyhow::Result<Engine> {
    let engine = engine
        .start()
        .map_err(|error| anyhow::anyhow!("{error} [{}]", error.code()))?;
    let requests = asks.into_iter().map(|ask| (ask.ticket, ask.request));
    let replies = engine.replies();
    let files = wanted.into_iter().map(|question| {
        let (name, client) = (question.name, question.client);
        (question.ticket, FileWanted { name, client })
    });
    let making = replies.clone();
    pages.clone().serve_files(files, move |ticket, file| {
        let _ = making.made(ticket, file);
    })?;
    let pages = pages.admitted_by(Arc::new(Turns(Arc::clone(engine.pacing()))));
    pages.serve(requests, move |ticket, response| {
        // A worker that is gone has no client waiting any more.
        let _ = replies.send(ticket, response);
    })?;
    Ok(engine)
}

async fn start_web(
    config: &Config,
    shared: &Shared,
    clients: &Clients,
    kept: &Kept,
    classifier: &Arc<Classifier>,
    engine: &Engine,
) -> anyhow::Result<Option<Web>> {
    let Some(listen) = config.listen.web.address() else {
        return Ok(None);
    };
    let seams = WebSeams {
        token: AdminToken::open(&config.data)?,
        authority: Arc::clone(&shared.authority),
        clients: clients.clone(),
        machines: Arc::clone(&kept.machines),
        approvals: Arc::clone(&kept.approvals),
        policy: Arc::clone(&shared.policy),
        decisions: shared.decisions.clone(),
        classifier: Arc::clone(classifier) as Arc<dyn bootstorm_control::Classifier>,
        catalog: Arc::clone(&shared.catalog),
        metrics: Arc::clone(&shared.metrics),
        about: Arc::new(about(engine)),
    };
    Ok(Some(Web::start(WebConfig { listen }, seams).await?))
}

/// Tells the classifier which machines are known.
async fn follow(classifier: Arc<Classifier>, mut known: watch::Receiver<HashSet<MacAddress>>) {
    while known.changed().await.is_ok() {
        classifier.know(known.borrow_and_update().iter().copied());
    }
}

fn about(engine: &Engine) -> About {
    let bound = engine.bound().iter();
    About {
        started: SystemTime::now(),
        listeners: bound
            .filter_map(|b| Some((b.name.to_owned(), b.address?)))
            .collect(),
        driver: engine.driver().to_owned(),
        workers: engine.workers(),
    }
}

fn authority_config(config: &Config) -> AuthorityConfig {
    let own = config.tls.certificate.clone().zip(config.tls.key.clone());
    AuthorityConfig {
        data: config.data.clone(),
        hosts: config.host.iter().cloned().collect(),
        own: own.map(|(chain, key)| OwnCertificate {
            chain,
            key,
            ca: None,
        }),
    }
}

/// Waits for what was served before the restart, so that no machine in the middle of its boot hears
/// that its file is not there.
async fn start_ingest(config: &Config, shared: &Shared) -> anyhow::Result<Arc<Ingest>> {
    let ingest = IngestConfig::new(&config.images, &config.data);
    let metrics = Arc::clone(&shared.metrics);
    let published = Arc::clone(&shared.catalog);
    let report = move |report| translate::log_report(&report, &published, &metrics);
    let ingest = Ingest::start(ingest, Arc::clone(&shared.catalog), report)
        .map_err(|error| anyhow::anyhow!("{error} [{}]", error.code()))?;
    let ingest = Arc::new(ingest);
    let waited = Arc::clone(&ingest);
    let recalled = tokio::task::spawn_blocking(move || waited.recalled(RECALL)).await;
    if !recalled.unwrap_or(false) {
        warn!(
            code = "ingest.slow",
            "the images folder {} cannot be looked through in {} s: until it is, machines hear \
             that there are no images",
            config.images.display(),
            RECALL.as_secs()
        );
    }
    Ok(ingest)
}

fn start_pins(config: &Config, shared: &Shared) -> anyhow::Result<Pins> {
    let metrics = Arc::clone(&shared.metrics);
    let report = move |pinned| translate::log_pinned(&pinned, &metrics);
    let budget = translate::pin_budget(config);
    Pins::start(budget, Arc::clone(&shared.catalog), report)
        .context("no thread to keep images in memory")
}

/// A default that is not there would leave every machine at its own disk without a word.
fn warn_of_default(config: &Config, catalog: &Catalog) {
    let Some(default) = &config.boot.default else {
        return;
    };
    let snapshot = catalog.snapshot();
    if default != "local" && snapshot.entry(default).is_none() {
        let known: Vec<&str> = snapshot
            .entries()
            .iter()
            .map(|entry| entry.id.as_str())
            .collect();
        warn!(
            code = "policy.unknown-entry",
            "there is no entry `{default}` in {}; there are: {}",
            config.images.display(),
            known.join(", ")
        );
    }
}

/// One line for each listener, on standard output.
fn announce(
    config: &Config,
    engine: &Engine,
    web: Option<&Web>,
    syslog: Option<Result<SocketAddr, String>>,
) -> anyhow::Result<()> {
    if config.interfaces.is_empty() {
        info!("answering on every interface; --interface NAME limits where");
    }
    // What was left out, and why, the engine has logged.
    for bound in engine.bound() {
        if let Some(address) = bound.address {
            say(&format!("listening {} {address}", bound.name))?;
        }
    }
    if let Some(web) = web {
        say(&format!("listening web {}", web.bound()))?;
        info!(
            "web service with the token in {}",
            crate::cli::token_path(config).display()
        );
    }
    match syslog {
        Some(Ok(address)) => say(&format!("listening syslog {address}"))?,
        Some(Err(error)) => warn!(code = "syslog.not-listening", "syslog: {error}"),
        None => {}
    }
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("standard output is closed")
}
