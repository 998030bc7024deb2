//! A service is asked: the facts by HTTP POST, the decision in the answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bootstorm_policy::decision::{ANSWER_MAX, BadAnswer, Verdict};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};

use crate::{Ask, ProviderError, Unusable};
use connection::Connection;
use target::Target;

mod connection;
mod target;

/// Connections that are kept for the next question.
const IDLE_MAX: usize = 8;

/// The longest token.
const AUTHORIZATION_MAX: usize = 8 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("bootstorm/", env!("CARGO_PKG_VERSION")));

/// A service that knows what machines boot.
pub struct Webhook {
    name: String,
    target: Target,
    authorization: Option<PathBuf>,
    idle: Mutex<Vec<Connection>>,
}

impl Webhook {
    /// A service at an http or https URL. Its certificate hangs from a CA in the PEM file `ca`, or
    /// from one that the system trusts; the file `authorization` holds the value of that header and
    /// is read for each question.
    ///
    /// # Errors
    /// [`Unusable`] for another URL and for a CA that cannot be read.
    pub fn new(
        name: &str,
        url: &str,
        ca: Option<PathBuf>,
        authorization: Option<PathBuf>,
    ) -> Result<Self, Unusable> {
        let target = Target::new(url, ca.as_deref()).map_err(|what| Unusable {
            provider: name.to_owned(),
            what,
        })?;
        Ok(Self {
            name: name.to_owned(),
            target,
            authorization,
            idle: Mutex::default(),
        })
    }

    async fn exchange(&self, question: Bytes) -> Result<Vec<u8>, ProviderError> {
        let authorization = self.read_authorization().await?;
        let request = || self.request(&question, authorization.as_ref());
        let kept = match self.take_idle() {
            // One that the service closed meanwhile is not its failure; a question can be repeated.
            Some(mut connection) => match connection.send(request()?).await {
                Ok(response) => Some((connection, response)),
                Err(_) => None,
            },
            None => None,
        };
        let (connection, response) = match kept {
            Some(kept) => kept,
            None => {
                let mut connection = Connection::open(&self.target).await?;
                let response = connection.send(request()?).await;
                let response = response.map_err(|e| ProviderError::Failed(told(&e)))?;
                (connection, response)
            }
        };
        let answer = read(response).await?;
        self.keep(connection);
        Ok(answer)
    }

    fn request(
        &self,
        question: &Bytes,
        authorization: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, ProviderError> {
        let mut request = Request::post(self.target.path())
            .header(HOST, self.target.authority())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, JSON)
            .header(ACCEPT, JSON);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Full::new(question.clone()));
        request.map_err(|e| ProviderError::Failed(format!("the request cannot be made: {e}")))
    }

    async fn read_authorization(&self) -> Result<Option<HeaderValue>, ProviderError> {
        let Some(path) = self.authorization.clone() else {
            return Ok(None);
        };
        let failed = |path: &PathBuf, e: &dyn fmt::Display| {
            ProviderError::Failed(format!("its authorization {}: {e}", path.display()))
        };
        let read = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || std::fs::read(path)).await
        };
        let text = match read {
            Ok(Ok(text)) if text.len() <= AUTHORIZATION_MAX => text,
            Ok(Ok(_)) => return Err(failed(&path, &"the file is too long")),
            Ok(Err(e)) => return Err(failed(&path, &e)),
            Err(e) => return Err(failed(&path, &e)),
        };
        let value = HeaderValue::from_bytes(text.trim_ascii());
        let mut value = value.map_err(|e| failed(&path, &e))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_open);
        idle.pop()
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && connection.is_open() {
            idle.push(connection);
        }
    }
}

impl Ask for Webhook {
    fn ask<'a>(
        &'a self,
        facts: &'a serde_json::Value,
    ) -> BoxFuture<'a, Result<Verdict, ProviderError>> {
        async move {
            let answer = self.exchange(facts.to_string().into()).await?;
            Ok(Verdict::from_json(&answer, &self.name)?)
        }
        .boxed()
    }
}

/// The body of an answer that is a decision.
async fn read(mut response: Response<Incoming>) -> Result<Vec<u8>, ProviderError> {
    let status = response.status();
    if status != StatusCode::OK {
        let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
        let location = location.map(|to| format!("; it is not followed to {}", to.escape_ascii()));
        let location = location.unwrap_or_default();
        return Err(ProviderError::Failed(format!(
            "it answers {status}{location}"
        )));
    }
    let mut answer = Vec::new();
    while let Some(frame) = response.frame().await {
        let frame = frame.map_err(|e| ProviderError::Failed(told(&e)))?;
        if let Ok(data) = frame.into_data() {
            if answer.len() + data.len() > ANSWER_MAX {
                return Err(BadAnswer::too_long().into());
            }
            answer.extend_from_slice(&data);
        }
    }
    Ok(answer)
}

/// An error with its causes, which say more than it does itself.
fn told(e: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(e), |e| e.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ").replace(char::is_control, " ")
}
