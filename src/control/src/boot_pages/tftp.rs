//! What boot managers of Windows ask for by TFTP: files that are made for the machine that has the
//! asking address.
//!
//! With its store a machine that loads its boot manager at once gets what another one gets with its
//! script: the boot begins here, and what is ordered once is taken.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use bootstorm_catalog::{File, Mapping};
use bootstorm_policy::decision::Decision;
use bootstorm_policy::windows::{SealedKind, VALID, WindowsFile};
use bootstorm_policy::{Asked, BootId, BootPlan, Facts, Identity, WindowsContent};
use bootstorm_telemetry::event::{BootEvent, Reason, What};
use sha2::{Digest as _, Sha256};

use super::BootPages;
use super::boot::{Turned, ordered, served};
use crate::Tasks;
use crate::clients::{Client, Phase};
use crate::handed::Makings;
use crate::history::sighting;

/// Requests that wait for a decision at a time; firmware asks again.
const WAITING_MAX: usize = 1024;

/// A file that a machine asks for by TFTP.
#[derive(Clone, Debug)]
pub struct FileWanted {
    /// Its name, as asked for.
    pub name: Box<str>,
    /// The machine's address.
    pub client: IpAddr,
}

/// The machine that asks, and for what.
struct Caller {
    file: WindowsFile,
    facts: Facts,
    client: Arc<Client>,
}

impl BootPages {
    /// Answers every request by `reply`, which never blocks, on threads of its own, until `wanted`
    /// ends. A request comes with whatever tells `reply` where its answer goes.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn serve_files<T, R>(
        self,
        wanted: impl IntoIterator<Item = (T, FileWanted)> + Send + 'static,
        reply: R,
    ) -> io::Result<()>
    where
        T: Send + 'static,
        R: Fn(T, Result<Arc<File>, Reason>) + Clone + Send + 'static,
    {
        let pages = Arc::new(self);
        let tasks = Tasks::start("tftp-files", WAITING_MAX)?;
        let thread = thread::Builder::new().name("tftp-questions".to_owned());
        thread.spawn(move || {
            for (to, wanted) in wanted {
                let Some(place) = tasks.place() else {
                    reply(to, Err(busy()));
                    continue;
                };
                let (pages, reply) = (Arc::clone(&pages), reply.clone());
                place.spawn(async move {
                    let made = pages.file_for(&wanted).await;
                    reply(to, made);
                });
            }
        })?;
        Ok(())
    }

    /// The file, once whoever has to be asked has answered.
    async fn file_for(&self, wanted: &FileWanted) -> Result<Arc<File>, Reason> {
        let caller = self.caller(wanted)?;
        if let Some(boot) = caller.client.boot
            && let Some(handed) = self.handed.get(BootId(boot))
        {
            return self.cut(&caller, &handed.facts, &handed.decision);
        }
        let facts = &caller.facts;
        let decision = match self.policy.decide(facts, SystemTime::now()) {
            Asked::Decided(decision) => decision,
            Asked::Waits { .. } => self.consult.decide(facts).await,
        };
        // What is ordered once is taken only if it can be had by TFTP.
        let file = self.cut(&caller, facts, &decision)?;
        if caller.asks_for_store() {
            return self.begin_by_tftp(&caller, decision).await;
        }
        Ok(file)
    }

    /// Who asks. Nobody learns whether a name that was told to another machine is one.
    fn caller(&self, wanted: &FileWanted) -> Result<Caller, Reason> {
        let not_found = || Reason {
            code: "tftp.not-found",
            text: "no such file for the machine at this address".into(),
        };
        let file = WindowsFile::of_name(&wanted.name).ok_or_else(not_found)?;
        let client = self.clients.by_ip(wanted.client).ok_or_else(not_found)?;
        let facts = facts_of(&client, wanted.client);
        let now = SystemTime::now();
        let is_good = match &file {
            WindowsFile::Sealed(name) => {
                let machine = Identity {
                    mac: facts.mac,
                    guid: facts.guid,
                    ..Identity::default()
                };
                self.tokens.is_named(name, &machine, now)
            }
            _ => client.identified.is_some_and(|at| now < at + VALID),
        };
        if is_good && client.phase != Phase::Finished {
            Ok(Caller {
                file,
                facts,
                client,
            })
        } else {
            Err(not_found())
        }
    }

    /// The file of a machine that this was decided for.
    fn cut(
        &self,
        caller: &Caller,
        facts: &Facts,
        decision: &Decision,
    ) -> Result<Arc<File>, Reason> {
        if caller.asks_for_variables() {
            let variables = self.policy.variables(decision, facts)?;
            return made("variables", variables.bytes());
        }
        let plan = self.policy.plan(decision, facts);
        let loaded = caller.client.loaded_since_script();
        let content = self
            .policy
            .windows_file(&caller.file, &plan, facts, loaded)?;
        match content {
            WindowsContent::File(file) => Ok(file),
            WindowsContent::Made(bytes) => made("Boot/BCD", &bytes),
        }
    }

    /// The store of a machine that loaded its boot manager without a script: its boot begins.
    async fn begin_by_tftp(
        &self,
        caller: &Caller,
        decision: Decision,
    ) -> Result<Arc<File>, Reason> {
        let facts = &caller.facts;
        let (decision, once) = self.ordered_by_tftp(facts, decision).await?;
        let (decision, boot) = match self.turned(facts, decision, once) {
            Turned::Boots(decision, boot) => (decision, boot),
            Turned::Disk(decision, reason) => {
                self.policy.tell_disk(facts, &decision, &reason);
                return Err(reason);
            }
        };
        let file = self.cut(caller, facts, &decision)?;
        let plan = self.policy.plan(&decision, facts);
        self.policy.tell_script(facts, &decision, &plan);
        self.tell_store(facts, &plan, boot);
        if let Some(boot) = boot {
            let facts = facts.clone();
            self.handed.put(boot, Makings { facts, decision });
        }
        Ok(file)
    }

    /// What is ordered once is taken, so that no other request and no other server does.
    async fn ordered_by_tftp(
        &self,
        facts: &Facts,
        decision: Decision,
    ) -> Result<(Decision, bool), Reason> {
        let machine = self.who(facts).1;
        let order = served(&decision).filter(|plan| plan.once);
        let Some(machine) = order.and(machine) else {
            return Ok((decision, false));
        };
        match self.machines.take_once(machine.id).await {
            Ok(Some(boot)) => Ok((ordered(decision, &boot), true)),
            // Somebody was quicker: the snapshot knows it by now.
            Ok(None) => Ok((self.consult.decide(facts).await, false)),
            Err(error) => {
                tracing::warn!(code = error.code(), "an order was not taken: {error}");
                let text = "what this machine is to boot cannot be read from the database".into();
                let code = error.code();
                Err(Reason { code, text })
            }
        }
    }

    fn tell_store(&self, facts: &Facts, plan: &BootPlan, boot: Option<BootId>) {
        if boot.is_none() {
            let identity = self.policy.identify(facts);
            self.machines
                .told(sighting(facts, &identity, SystemTime::now()));
        }
        let event = BootEvent {
            at: SystemTime::now(),
            mac: facts.mac,
            ip: facts.address,
            what: What::Script {
                boots: plan.name().into(),
                because: None,
                boot: boot.map(|boot| boot.0),
            },
        };
        if self.events.try_send(event).is_err() {
            self.metrics.planes.events_dropped.inc();
        }
    }
}

impl Caller {
    fn asks_for_variables(&self) -> bool {
        matches!(&self.file, WindowsFile::Sealed(name) if name.kind == SealedKind::Variables)
    }

    fn asks_for_store(&self) -> bool {
        match &self.file {
            WindowsFile::Store => true,
            WindowsFile::Sealed(name) => name.kind == SealedKind::Store,
            WindowsFile::BootManager | WindowsFile::OfImage(_) | WindowsFile::Image => false,
        }
    }
}

/// What DHCP or, where that was another server's, the script told of the machine.
fn facts_of(client: &Client, address: IpAddr) -> Facts {
    let mut facts = match &client.heard {
        Some(heard) => Facts::from(&**heard),
        None => Facts {
            mac: client.mac,
            guid: client.guid,
            arches: client.arch.into_iter().collect(),
            family: client.arch.and_then(|arch| arch.family()),
            ..Facts::default()
        },
    };
    facts.address = Some(address.to_canonical());
    facts
}

fn made(path: &str, bytes: &[u8]) -> Result<Arc<File>, Reason> {
    let content = Mapping::of_bytes(bytes).map_err(|error| Reason {
        code: "tftp.no-memory",
        text: format!("the server cannot make the file: {error}").into(),
    })?;
    Ok(Arc::new(File {
        path: path.into(),
        content,
        sha256: Sha256::digest(bytes).into(),
        modified: SystemTime::now(),
    }))
}

fn busy() -> Reason {
    Reason {
        code: "tftp.busy",
        text: "too many machines wait for files: try again".into(),
    }
}

#[cfg(test)]
mod tests;
