//! UEFI HTTP boot as EDK2 does it: HEAD for the size, then GET.

use std::time::Instant;

use super::body::{Fetched, Keep};
use super::fetch::compare_with_profile;
use super::http::request::{Agent, Method, Request};
use super::http::{Answer, Client, QUIET};
use super::io::{Input, Progress, Step, World};
use super::url::{Scheme, Url};
use crate::finding::{Code, Finding};

/// Content types that EDK2 boots.
const TYPES: [&str; 3] = [
    "application/efi",
    "application/vnd.efi-iso",
    "application/vnd.efi-img",
];

/// Ends of names that it boots where the type does not tell.
const ENDS: [&str; 3] = [".efi", ".iso", ".img"];

/// The boot program of a machine that boots by HTTP.
#[derive(Debug)]
pub(crate) struct HttpProgram {
    client: Client,
    state: State,
}

#[derive(Debug)]
enum State {
    /// HEAD is asked.
    Looking,
    /// GET is asked; HEAD promised so many bytes.
    Loading(Option<u64>),
    /// The URL leads nowhere.
    Refused(Finding, Instant),
    /// It is through.
    Over,
}

impl HttpProgram {
    /// Asks for the program at `url`, which option 67 has given.
    pub(crate) fn start(url: &str, world: &mut World<'_>) -> Self {
        let mut client = Client::default();
        let begun = Url::parse(url).and_then(|url| {
            if url.scheme == Scheme::Tftp {
                return Err(Finding::new(Code::UrlScheme, url.to_string()));
            }
            compare_with_profile(&url, world);
            client.begin(request(Method::Head, url), world)
        });
        let state = match begun {
            Ok(()) => State::Looking,
            Err(finding) => State::Refused(finding, world.now),
        };
        Self { client, state }
    }

    fn looked(&mut self, answer: Answer, world: &mut World<'_>) -> Progress<Fetched> {
        if answer.length.is_none() {
            let evidence = format!("HEAD {}", answer.url);
            world.finding(Code::HttpNoLength, evidence);
        }
        self.state = State::Loading(answer.length);
        match self.client.begin(request(Method::Get, answer.url), world) {
            Ok(()) => Progress::Going,
            Err(finding) => Progress::Failed(finding),
        }
    }

    fn loaded(
        &mut self,
        answer: Answer,
        promised: Option<u64>,
        world: &mut World<'_>,
    ) -> Progress<Fetched> {
        self.client.hang_up(world);
        let (url, bytes) = (&answer.url, answer.fetched.bytes);
        if let Some(promised) = promised.filter(|promised| *promised != bytes) {
            let evidence = format!("{url}: HEAD says {promised} bytes, GET has {bytes}");
            return Progress::Failed(Finding::new(Code::HttpLengthWrong, evidence));
        }
        let path = url.target.split('?').next().unwrap_or_default();
        let path = path.to_ascii_lowercase();
        let kind = answer.kind.as_deref().unwrap_or_default();
        if !TYPES.contains(&kind) && !ENDS.iter().any(|end| path.ends_with(end)) {
            world.finding(Code::HttpType, format!("{url}: `{kind}`"));
        }
        Progress::Done(answer.fetched)
    }
}

impl Step for HttpProgram {
    type Made = Fetched;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Fetched> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => Progress::Going,
            State::Refused(finding, _) => Progress::Failed(finding),
            state @ (State::Looking | State::Loading(_)) => {
                let answer = match self.client.handle(input, world) {
                    Progress::Done(answer) => answer,
                    Progress::Failed(finding) => return Progress::Failed(finding),
                    Progress::Going => {
                        self.state = state;
                        return Progress::Going;
                    }
                };
                match state {
                    State::Loading(promised) => self.loaded(answer, promised, world),
                    _ => self.looked(answer, world),
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Looking | State::Loading(_) => self.client.deadline(),
            State::Refused(_, at) => Some(*at),
            State::Over => None,
        }
    }
}

fn request(method: Method, url: Url) -> Request {
    Request {
        agent: Agent::Edk2,
        method,
        url,
        form: None,
        keep: Keep::Discard,
        quiet: QUIET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::profile::Profile;
    use crate::machine::simulated::web::{Reply, Sim, ok, status};

    fn answer(request: &str, promised: &str, body: &str) -> Reply {
        let body = if request.starts_with("HEAD ") {
            ""
        } else {
            body
        };
        let kind = "Content-Type: application/octet-stream";
        Reply::Send(format!("HTTP/1.1 200 OK\r\n{promised}{kind}\r\n\r\n{body}").into_bytes())
    }

    fn load(url: &str, server: impl FnMut(&str) -> Reply) -> (Result<u64, Code>, Vec<Code>, Sim) {
        let mut sim = Sim::new(Profile::UefiHttp);
        let mut program = HttpProgram::start(url, &mut sim.world());
        let end = sim.play(&mut program, server);
        let end = end
            .map(|fetched| fetched.bytes)
            .map_err(|finding| finding.code);
        let found = sim.found();
        (end, found, sim)
    }

    #[test]
    fn the_size_is_asked_for_first() {
        let whole = |request: &str| answer(request, "Content-Length: 4\r\n", "prog");
        let (end, found, sim) = load("http://10.99.0.2/boot/snponly.EFI", whole);
        assert_eq!((end, found), (Ok(4), vec![]));
        let verbs: Vec<&str> = sim.requests.iter().map(|request| &request[..5]).collect();
        assert_eq!(verbs, ["HEAD ", "GET /"]);
        assert_eq!((sim.connects.len(), sim.files().len()), (1, 1));
    }

    #[test]
    fn what_firmware_cannot_boot_is_told() {
        let url = "http://10.99.0.2/boot";
        let whole = |request: &str| answer(request, "Content-Length: 4\r\n", "prog");
        assert_eq!(load(url, whole).1, [Code::HttpType]);
        let (end, _, _) = load(url, |request| {
            let promised = if request.starts_with("HEAD ") { 5 } else { 4 };
            answer(request, &format!("Content-Length: {promised}\r\n"), "prog")
        });
        assert_eq!(end, Err(Code::HttpLengthWrong));
        let (end, found, _) = load("http://10.99.0.2/a.efi", |request| {
            if request.starts_with("HEAD ") {
                answer(request, "", "")
            } else {
                ok("prog")
            }
        });
        assert_eq!((end, found[0]), (Ok(4), Code::HttpNoLength));
        assert_eq!(load(url, |_| status(404, "")).0, Err(Code::HttpStatus));
        assert_eq!(
            load("tftp://10.99.0.2/a", |_| Reply::Nothing).0,
            Err(Code::UrlScheme)
        );
        assert_eq!(load("a.efi", |_| Reply::Nothing).0, Err(Code::UrlMalformed));
        let over_tls = load("https://10.99.0.2/a.efi", whole).1;
        assert_eq!(over_tls, [Code::ProfileHttpsInsteadOfHttp]);
    }
}
