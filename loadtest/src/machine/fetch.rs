//! Fetches a URL, whatever its scheme.

use std::time::{Duration, Instant};

use super::body::{Fetched, Keep};
use super::http;
use super::http::request::{Agent, Method, Request};
use super::io::{Input, Progress, Step, World};
use super::profile::Profile;
use super::tftp::{self, Transfer, Wish};
use super::url::{Scheme, Url};
use crate::finding::{Code, Finding};

/// Fetches files as iPXE does, one by one; keeps the connection in between.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    client: http::Client,
    /// A file that comes by TFTP, and where from.
    transfer: Option<Box<(Transfer, Url)>>,
}

/// A file that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Who asks, by HTTP.
    pub(crate) agent: Agent,
    /// Where it is.
    pub(crate) url: Url,
    /// What goes along, as `application/x-www-form-urlencoded`.
    pub(crate) form: Option<String>,
    /// What is kept of it.
    pub(crate) keep: Keep,
    /// How long the server may stay silent, where that is not left to the protocol.
    pub(crate) quiet: Option<Duration>,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Where it came from in the end.
    pub(crate) url: Url,
    /// The file.
    pub(crate) fetched: Fetched,
    /// `Content-Type`, without its parameters, in lower case.
    pub(crate) kind: Option<String>,
}

impl Loader {
    /// Asks for a file; an earlier one has to be there or to have failed.
    ///
    /// # Errors
    /// The URL leads nowhere.
    pub(crate) fn begin(&mut self, want: Want, world: &mut World<'_>) -> Result<(), Finding> {
        let Want {
            agent,
            url,
            form,
            keep,
            quiet,
        } = want;
        if url.scheme == Scheme::Tftp {
            let wish = Wish {
                server: url.peer(world.plan)?,
                file: url.file(),
                keep,
                client: tftp::Client::Ipxe,
            };
            self.transfer = Some(Box::new((Transfer::start(wish, world), url)));
            return Ok(());
        }
        let request = Request {
            agent,
            method: Method::Get,
            url,
            form,
            keep,
            quiet: quiet.unwrap_or(http::QUIET),
        };
        self.client.begin(request, world)
    }

    /// Ends the connection that was kept.
    pub(crate) fn hang_up(&mut self, world: &mut World<'_>) {
        self.client.hang_up(world);
    }
}

impl Step for Loader {
    type Made = Loaded;

    fn handle(&mut self, input: Input<'_>, world: &mut World<'_>) -> Progress<Loaded> {
        let is_of_stream = matches!(
            input,
            Input::Connected { .. } | Input::Stream(_) | Input::Closed | Input::Broken(_)
        );
        // The connection that HTTP keeps may end while a file comes by TFTP.
        let Some(transfer) = self.transfer.as_mut().filter(|_| !is_of_stream) else {
            return self.client.handle(input, world).map(|answer| Loaded {
                url: answer.url,
                fetched: answer.fetched,
                kind: answer.kind,
            });
        };
        let progress = transfer.0.handle(input, world);
        if matches!(progress, Progress::Going) {
            return Progress::Going;
        }
        let Some(transfer) = self.transfer.take() else {
            return Progress::Going;
        };
        progress.map(|fetched| Loaded {
            url: transfer.1,
            fetched,
            kind: None,
        })
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.transfer {
            Some(transfer) => transfer.0.deadline(),
            None => self.client.deadline(),
        }
    }
}

/// Whether TLS is spoken is for the server's URL to say; the profile says what was expected.
pub(crate) fn compare_with_profile(url: &Url, world: &mut World<'_>) {
    let code = match (world.identity.profile, url.scheme) {
        (Profile::UefiHttps | Profile::IpxeHttps, Scheme::Http) => Code::ProfileHttpInsteadOfHttps,
        (Profile::UefiHttp | Profile::IpxeHttp, Scheme::Https) => Code::ProfileHttpsInsteadOfHttp,
        _ => return,
    };
    world.finding(code, url.to_string());
}
