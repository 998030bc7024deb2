//! The TLS sessions that one machine remembers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

/// Of the server that was spoken to last the last session. A machine boots from one server, and
/// thousands of machines keep one of these each.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Option<Box<Kept>>>);

#[derive(Debug)]
struct Kept {
    server: ServerName<'static>,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Option<Tls13ClientSessionValue>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        server: &ServerName<'_>,
        read: impl FnOnce(&mut Kept) -> Option<T>,
    ) -> Option<T> {
        let mut lock = self.lock();
        let kept = lock.as_mut().filter(|kept| kept.server == *server)?;
        read(kept)
    }

    fn write(&self, server: ServerName<'static>, write: impl FnOnce(&mut Kept)) {
        let mut lock = self.lock();
        if lock.as_ref().is_some_and(|kept| kept.server != server) {
            *lock = None;
        }
        write(lock.get_or_insert_with(|| {
            Box::new(Kept {
                server,
                group: None,
                tls12: None,
                tls13: None,
            })
        }));
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.write(server_name, |kept| kept.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.read(server_name, |kept| kept.group)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.write(server_name, |kept| kept.tls12 = Some(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.read(server_name, |kept| kept.tls12.clone())
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.read(server_name, |kept| kept.tls12.take());
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.write(server_name, |kept| kept.tls13 = Some(value));
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.read(server_name, |kept| kept.tls13.take())
    }
}
