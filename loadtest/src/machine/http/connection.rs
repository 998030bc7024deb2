//! The connection that a machine keeps.

use std::net::SocketAddrV4;

use crate::finding::Finding;
use crate::machine::io::{Output, World};
use crate::machine::plan::Plan;
use crate::machine::trace::Way;
use crate::machine::url::{Scheme, Url};

/// What a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    address: SocketAddrV4,
    /// The server's name, where TLS is spoken.
    tls: Option<String>,
}

/// A connection, or one that is coming up.
#[derive(Debug)]
pub(super) struct Connection {
    peer: Peer,
    used: bool,
}

impl Peer {
    /// Who serves a URL.
    pub(super) fn of(url: &Url, plan: &Plan) -> Result<Self, Finding> {
        Ok(Self {
            address: url.peer(plan)?,
            tls: (url.scheme == Scheme::Https).then(|| url.host.clone()),
        })
    }
}

impl Connection {
    /// Begins one.
    pub(super) fn open(peer: Peer, world: &mut World<'_>) -> Self {
        world.note(Way::Out, || {
            let tls = if peer.tls.is_some() { " with TLS" } else { "" };
            format!("TCP connect to {}{tls}", peer.address)
        });
        world.want(Output::Connect(peer.address, peer.tls.clone()));
        Self { peer, used: false }
    }

    /// Ends it.
    pub(super) fn close(self, world: &mut World<'_>) {
        world.want(Output::Disconnect);
    }

    /// An answer came over it.
    pub(super) const fn set_used(&mut self) {
        self.used = true;
    }

    pub(super) fn leads_to(&self, peer: &Peer) -> bool {
        self.peer == *peer
    }

    pub(super) const fn was_used(&self) -> bool {
        self.used
    }

    pub(super) const fn is_encrypted(&self) -> bool {
        self.peer.tls.is_some()
    }

    pub(super) const fn address(&self) -> SocketAddrV4 {
        self.peer.address
    }
}
