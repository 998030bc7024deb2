//! From a machine that asks for its script to the script.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bootstorm_policy::decision::{Boot, Decision, Outcome, Plan, Wait};
use bootstorm_policy::{Asked, BootId, BootPlan, Facts, Machine, Urls, script};
use bootstorm_proto::http::{BootRequest, BootResponse, Method};
use bootstorm_proto::ipxe::Params;
use bootstorm_telemetry::event::{Reason, What};

use super::files::FileAsked;
use super::{BootPages, ip, is_ipxe, protocol, text};
use crate::Place;
use crate::approvals::asks;
use crate::boots::{Arrival, Number, Turn, Who};
use crate::handed::Makings;
use crate::history::sighting;

/// A machine that waits for its turn asks again after this time.
const ASKS_AGAIN: Duration = Duration::from_secs(5);

/// A machine whose order cannot be taken asks again after this time.
const ASKS_LATER: Duration = Duration::from_secs(10);

/// What a machine may have to wait for, one after the other: providers, people, its order.
const STEPS_MAX: usize = 4;

/// How long the token of a boot is good: longer than machines wait for people.
const TOKEN: Duration = Duration::from_secs(24 * 3600);

/// The answer to a request, or what it takes.
#[derive(Debug)]
pub(super) enum Page {
    Ready(BootResponse),
    Waits(Box<Waits>),
}

/// What it takes.
#[derive(Debug)]
pub(super) enum Waits {
    /// Remote providers have to be asked.
    Asked(Facts),
    /// People have to be asked to let it in.
    Admitted(Facts),
    /// Remote providers have to be asked, for a file that is made of what they say.
    File(Facts, FileAsked),
    /// The machine is to boot something once, and nobody has taken the order yet.
    Ordered(Order),
}

#[derive(Debug)]
pub(super) struct Order {
    facts: Facts,
    decision: Decision,
    machine: i64,
}

/// What becomes of a machine.
pub(super) enum Turned {
    /// It boots what was decided, in this boot, if it is one.
    Boots(Decision, Option<BootId>),
    /// It goes to its own disk.
    Disk(Decision, Reason),
}

impl BootPages {
    /// The script of the machine that asks, as far as memory tells.
    pub(super) fn boot(&self, request: &BootRequest) -> Page {
        let facts = self.facts(request);
        if is_ipxe(request) && self.policy.asks(&facts) {
            return Page::Ready(self.ask(request, &facts));
        }
        self.boot_of(request, facts)
    }

    fn boot_of(&self, request: &BootRequest, facts: Facts) -> Page {
        match self.policy.decide(&facts, SystemTime::now()) {
            Asked::Decided(decision) => self.decided(request, facts, decision),
            Asked::Waits { .. } => Page::Waits(Box::new(Waits::Asked(facts))),
        }
    }

    fn ask(&self, request: &BootRequest, facts: &Facts) -> BootResponse {
        if request.method != Method::Head {
            self.metrics.web.script("ask");
        }
        let (urls, leaving) = (self.urls(request, facts, None), self.policy.local_boot());
        text(200, script::ask(&urls, facts, leaving))
    }

    fn decided(&self, request: &BootRequest, facts: Facts, decision: Decision) -> Page {
        let plan = self.policy.plan(&decision, &facts);
        if boots_unattended(&plan)
            && is_ipxe(request)
            && let Some(place) = self.admission.ask(ip(request))
        {
            return Page::Ready(self.queued(request, &facts, place));
        }
        // OVMF and others look with HEAD before they GET: that is one boot.
        if request.method == Method::Head {
            return Page::Ready(self.hand_out(request, &facts, &plan, None));
        }
        if asks(&decision).is_some() && !self.policy.identify(&facts).is_unknown() {
            return Page::Waits(Box::new(Waits::Admitted(facts)));
        }
        let order = served(&decision).filter(|plan| plan.once);
        match order.and_then(|_| self.who(&facts).1) {
            Some(machine) => Page::Waits(Box::new(Waits::Ordered(Order {
                facts,
                decision,
                machine: machine.id,
            }))),
            None => Page::Ready(self.begin(request, &facts, decision, false)),
        }
    }

    /// The answer to a request, once whoever has to be asked has answered.
    pub(super) async fn wait(&self, request: &BootRequest, waits: Box<Waits>) -> BootResponse {
        let mut waits = *waits;
        for _ in 0..STEPS_MAX {
            let page = match waits {
                Waits::Ordered(order) => return self.take(request, order).await,
                Waits::File(facts, asked) => {
                    let decision = self.consult.decide(&facts).await;
                    return self.made(request, &facts, &decision, &asked);
                }
                Waits::Asked(facts) => {
                    let decision = self.consult.decide(&facts).await;
                    self.decided(request, facts, decision)
                }
                Waits::Admitted(facts) => {
                    self.approvals.ask(&facts).await;
                    self.boot_of(request, facts)
                }
            };
            match page {
                Page::Ready(response) => return response,
                Page::Waits(next) => waits = *next,
            }
        }
        self.busy(request)
    }

    /// Takes what the machine is to boot once, so that no other request and no other server does.
    async fn take(&self, request: &BootRequest, order: Order) -> BootResponse {
        let Order {
            facts,
            decision,
            machine,
        } = order;
        match self.machines.take_once(machine).await {
            Ok(Some(boot)) => self.begin(request, &facts, ordered(decision, &boot), true),
            // Somebody was quicker: the snapshot knows it by now.
            Ok(None) => match self.boot(request) {
                Page::Ready(response) => response,
                Page::Waits(_) => self.busy(request),
            },
            Err(error) => {
                tracing::warn!(code = error.code(), "an order was not taken: {error}");
                let reason = Reason {
                    code: error.code(),
                    text: "What this machine is to boot cannot be read from the database.".into(),
                };
                let waits = waiting(reason, ASKS_LATER);
                self.policy.tell_script(&facts, &decision, &waits);
                self.hand_out(request, &facts, &waits, None)
            }
        }
    }

    /// The answer when too many machines wait for theirs.
    pub(super) fn busy(&self, request: &BootRequest) -> BootResponse {
        let reason = Reason {
            code: "boot.busy",
            text: "Too many machines wait for what they are to boot.".into(),
        };
        let waits = waiting(reason, ASKS_LATER);
        self.hand_out(request, &self.facts(request), &waits, None)
    }

    /// What the request says, and what was seen of the machine where it says nothing.
    pub(super) fn facts(&self, request: &BootRequest) -> Facts {
        let params = Params::of_request(&request.query, &request.body);
        let mut facts = Facts::from(&params);
        facts.source = Some(ip(request));
        facts.address = facts.address.or(facts.source);
        let seen = match (facts.mac, facts.guid) {
            (Some(mac), _) => self.clients.by_mac(mac),
            (None, None) => self.clients.by_ip(ip(request)),
            (None, Some(_)) => None,
        };
        if let Some(seen) = seen {
            facts.mac = facts.mac.or(seen.mac);
            facts.guid = facts.guid.or(seen.guid);
            if let Some(heard) = &seen.heard {
                facts.complete(&Facts::from(&**heard));
            }
        }
        facts
    }

    /// Which machine that is, and what the store knows of it.
    pub(super) fn who(&self, facts: &Facts) -> (Option<Who>, Option<Arc<Machine>>) {
        let identity = self.policy.identify(facts);
        let machine = self.policy.machines().find(&identity);
        (Who::of(&identity, machine.as_deref()), machine)
    }

    /// A boot begins, or goes on, or has ended already.
    fn begin(
        &self,
        request: &BootRequest,
        facts: &Facts,
        decision: Decision,
        once: bool,
    ) -> BootResponse {
        match self.turned(facts, decision, once) {
            Turned::Boots(decision, boot) => self.carry_out(request, facts, &decision, boot),
            Turned::Disk(decision, reason) => {
                self.policy.tell_disk(facts, &decision, &reason);
                self.send_to_disk(request, facts, reason)
            }
        }
    }

    /// What becomes of a machine that this was decided for; a boot that begins is written down.
    pub(super) fn turned(&self, facts: &Facts, decision: Decision, once: bool) -> Turned {
        let (who, machine) = self.who(facts);
        let (Some(plan), Some(who)) = (served(&decision), who) else {
            return Turned::Boots(decision, None);
        };
        let client = facts.mac.and_then(|mac| self.clients.by_mac(mac));
        let now = SystemTime::now();
        let turn = self.boots.turn(Arrival {
            who,
            plan,
            once,
            done: machine.as_ref().and_then(|machine| machine.done.as_deref()),
            has_loaded: &|began| client.as_ref().is_some_and(|c| c.has_loaded_since(began)),
            now,
        });
        let (plan, boot) = match turn {
            Turn::Disk(reason) => return Turned::Disk(decision, reason),
            Turn::Passes => (Arc::clone(plan), None),
            Turn::Boots(plan, Number::Same(boot)) => (plan, Some(boot)),
            Turn::Boots(plan, Number::New(boot)) => {
                let seen = sighting(facts, &self.policy.identify(facts), now);
                self.history.began(boot, who, seen, &plan, once);
                (plan, Some(boot))
            }
        };
        let decision = Decision {
            outcome: Outcome::Serve(plan),
            ..decision
        };
        Turned::Boots(decision, boot)
    }

    fn carry_out(
        &self,
        request: &BootRequest,
        facts: &Facts,
        decision: &Decision,
        boot: Option<BootId>,
    ) -> BootResponse {
        let plan = self.policy.plan(decision, facts);
        self.policy.tell_script(facts, decision, &plan);
        if let Some(boot) = boot {
            let (facts, decision) = (facts.clone(), decision.clone());
            self.handed.put(boot, Makings { facts, decision });
        }
        self.hand_out(request, facts, &plan, boot)
    }

    fn hand_out(
        &self,
        request: &BootRequest,
        facts: &Facts,
        plan: &BootPlan,
        boot: Option<BootId>,
    ) -> BootResponse {
        if request.method != Method::Head {
            if boot.is_none() {
                let identity = self.policy.identify(facts);
                let seen = sighting(facts, &identity, SystemTime::now());
                self.machines.told(seen);
            }
            self.tell(facts.mac, request, happened(plan, request, boot));
            self.metrics.web.script(kind(plan));
        }
        let (urls, leaving) = (self.urls(request, facts, boot), self.policy.local_boot());
        BootResponse {
            retry_after: retry_after(plan),
            ..text(200, script::render(plan, &urls, facts, leaving))
        }
    }

    fn send_to_disk(&self, request: &BootRequest, facts: &Facts, reason: Reason) -> BootResponse {
        let response = text(200, script::to_disk(&reason, self.policy.local_boot()));
        self.metrics.web.script(reason.code);
        let what = What::Script {
            boots: BootPlan::Local.name().into(),
            because: Some(reason),
            boot: None,
        };
        self.tell(facts.mac, request, what);
        response
    }

    fn queued(&self, request: &BootRequest, facts: &Facts, place: Place) -> BootResponse {
        let reason = Reason {
            code: "pacing.queued",
            text: format!("Other machines are being fed: {}.", place.in_words()).into(),
        };
        if request.method != Method::Head {
            self.metrics.web.script(reason.code);
            let (place, of) = (place.number, place.of);
            self.tell(facts.mac, request, What::Queued { place, of });
        }
        let (urls, leaving) = (self.urls(request, facts, None), self.policy.local_boot());
        let plan = waiting(reason, ASKS_AGAIN);
        BootResponse {
            retry_after: retry_after(&plan),
            ..text(200, script::render(&plan, &urls, facts, leaving))
        }
    }

    fn urls(&self, request: &BootRequest, facts: &Facts, boot: Option<BootId>) -> Urls {
        self.urls_of(request, facts, boot, None)
    }

    /// The URLs of this boot, with the token that the machine has or a new one; those of a machine
    /// that is known by nothing carry none.
    pub(super) fn urls_of(
        &self,
        request: &BootRequest,
        facts: &Facts,
        boot: Option<BootId>,
        token: Option<&str>,
    ) -> Urls {
        let urls = Urls::of_request(&request.host, request.local, request.secure)
            .with_https(self.policy.ports().https);
        if let Some(token) = token {
            return urls.with_token(token);
        }
        let identity = self.policy.identify(facts);
        if identity.is_unknown() {
            return urls;
        }
        let until = SystemTime::now() + TOKEN;
        let boot = boot.unwrap_or_else(|| self.boots.number());
        urls.with_token(&self.tokens.issue(boot, &identity, until))
    }
}

fn waiting(reason: Reason, every: Duration) -> BootPlan {
    BootPlan::Wait(Wait {
        reason,
        every,
        request: None,
    })
}

/// For whoever asks and runs no scripts; iPXE goes by the script.
fn retry_after(plan: &BootPlan) -> Option<u32> {
    let BootPlan::Wait(wait) = plan else {
        return None;
    };
    Some(
        u32::try_from(wait.every.as_secs())
            .unwrap_or(u32::MAX)
            .max(1),
    )
}

pub(super) const fn served(decision: &Decision) -> Option<&Arc<Plan>> {
    match &decision.outcome {
        Outcome::Serve(plan) => Some(plan),
        Outcome::Silent(_) => None,
    }
}

/// The decision with what the order that was taken says.
pub(super) fn ordered(decision: Decision, boot: &str) -> Decision {
    let Some(plan) = served(&decision) else {
        return decision;
    };
    let plan = Plan {
        boot: Boot::named(boot),
        required: true,
        ..Plan::clone(plan)
    };
    Decision {
        outcome: Outcome::Serve(Arc::new(plan)),
        ..decision
    }
}

/// Whether large files follow the script by themselves. At a menu a person may take an hour to
/// choose: then the first large file waits instead.
fn boots_unattended(plan: &BootPlan) -> bool {
    match plan {
        BootPlan::Entry(_) | BootPlan::Script(_) => true,
        BootPlan::Menu(menu) => menu.default.is_some() && !menu.timeout.is_zero(),
        BootPlan::Pages(pages) => pages.boot_unattended(),
        BootPlan::Ask(_, plan) => boots_unattended(plan),
        BootPlan::Local | BootPlan::Wait(_) | BootPlan::Refer(_) | BootPlan::Refuse(_) => false,
    }
}

fn happened(plan: &BootPlan, request: &BootRequest, boot: Option<BootId>) -> What {
    match plan {
        BootPlan::Refuse(reason) => What::Refused {
            protocol: protocol(request),
            file: None,
            reason: reason.clone(),
        },
        BootPlan::Ask(_, plan) => happened(plan, request, boot),
        BootPlan::Wait(wait) => What::Script {
            boots: plan.name().into(),
            because: Some(wait.reason.clone()),
            boot: None,
        },
        BootPlan::Menu(_)
        | BootPlan::Pages(_)
        | BootPlan::Entry(_)
        | BootPlan::Script(_)
        | BootPlan::Local
        | BootPlan::Refer(_) => What::Script {
            boots: plan.name().into(),
            because: None,
            boot: boot.map(|boot| boot.0),
        },
    }
}

fn kind(plan: &BootPlan) -> &'static str {
    match plan {
        BootPlan::Menu(_) | BootPlan::Pages(_) => "menu",
        BootPlan::Entry(_) => "entry",
        BootPlan::Script(_) => "script",
        BootPlan::Local => "local",
        BootPlan::Refer(_) => "referral",
        BootPlan::Ask(_, plan) => kind(plan),
        BootPlan::Wait(wait) => wait.reason.code,
        BootPlan::Refuse(reason) => reason.code,
    }
}
