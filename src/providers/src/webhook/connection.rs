//! One connection to a service.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::target::Target;
use super::told;
use crate::ProviderError;

/// The longest head of an answer.
const HEAD_MAX: usize = 64 * 1024;

/// A connection; dropping it closes it, whatever it was waiting for.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Result<Self, ProviderError> {
        let (host, port) = target.address();
        let failed = |e: &dyn std::error::Error| {
            ProviderError::Failed(format!("{host} port {port}: {}", told(e)))
        };
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|e| failed(&e))?;
        // A question is small and waits for its answer.
        let _ = stream.set_nodelay(true);
        match target.tls() {
            None => Self::speak(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name, stream).await;
                Self::speak(stream.map_err(|e| failed(&e))?).await
            }
        }
        .map_err(|e| failed(&e))
    }

    async fn speak<S>(stream: S) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told.
            let _ = connection.await;
        });
        Ok(Self { sender, task })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
