//! What a TLS handshake and a sealed body cost the server, in time on the processor: the client's
//! share and busy neighbours do not count.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bootstorm_engine::tls::{Fed, Stream, TlsOptions, provider, server_config};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustix::time::{ClockId, clock_gettime};
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConfig, SupportedCipherSuite,
};
use rustls_pki_types::PrivateKeyDer;

type Failure = Box<dyn std::error::Error>;

/// Who connects, and whether it remembers its last session.
struct Client {
    name: &'static str,
    config: Arc<ClientConfig>,
}

fn server() -> Result<(Arc<ServerConfig>, RootCertStore), Failure> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    let mut roots = RootCertStore::empty();
    roots.add(leaf.der().clone())?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let config = server_config(vec![leaf.der().clone()], key, TlsOptions::default())?;
    Ok((config, roots))
}

fn client(
    name: &'static str,
    group: NamedGroup,
    resuming: bool,
    roots: &RootCertStore,
) -> Result<Client, Failure> {
    let mut provider = provider(true);
    provider.kx_groups.retain(|known| known.name() == group);
    provider.cipher_suites.retain(|suite| {
        matches!(suite, SupportedCipherSuite::Tls12(suite)
            if suite.kx == group.key_exchange_algorithm())
    });
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    if !resuming {
        config.resumption = rustls::client::Resumption::disabled();
    }
    let config = Arc::new(config);
    Ok(Client { name, config })
}

fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

// A handshake in memory; the time is what the server spent.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Client,
) -> Result<(Stream, ClientConnection, Duration), Failure> {
    let mut ours = Stream::new(Arc::clone(server)).map_err(|reason| reason.text)?;
    let mut theirs = ClientConnection::new(Arc::clone(&client.config), "localhost".try_into()?)?;
    let mut spent = Duration::ZERO;
    while theirs.is_handshaking() || ours.is_handshaking() {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while theirs.wants_write() {
            theirs.write_tls(&mut there)?;
        }
        let begin = on_processor();
        let fed = ours.feed(&there, &mut Vec::new());
        ours.flush(&mut back);
        spent += on_processor().saturating_sub(begin);
        if fed.map_err(|reason| reason.text)? == Fed::Ended {
            return Err("the client left".into());
        }
        let mut rest = &back[..];
        while !rest.is_empty() {
            theirs.read_tls(&mut rest)?;
            theirs.process_new_packets()?;
        }
    }
    Ok((ours, theirs, spent))
}

fn benches(criterion: &mut Criterion) {
    if let Err(failure) = run(criterion) {
        eprintln!("no numbers: {failure}");
        std::process::exit(1);
    }
}

fn run(criterion: &mut Criterion) -> Result<(), Failure> {
    let (server, roots) = server()?;
    let mut group = criterion.benchmark_group("handshake, server's share");
    for client in [
        client("X25519", NamedGroup::X25519, false, &roots)?,
        client("P-256", NamedGroup::secp256r1, false, &roots)?,
        client("FFDHE2048", NamedGroup::FFDHE2048, false, &roots)?,
        client("FFDHE3072", NamedGroup::FFDHE3072, false, &roots)?,
        client("resumed", NamedGroup::X25519, true, &roots)?,
    ] {
        // The first one fills the client's memory of sessions.
        handshake(&server, &client)?;
        group.bench_function(client.name, |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| handshake(&server, &client).map_or(Duration::ZERO, |done| done.2))
                    .sum()
            });
        });
    }
    group.finish();

    let client = client("AES-128-GCM", NamedGroup::X25519, false, &roots)?;
    let (mut stream, _, _) = handshake(&server, &client)?;
    let body = vec![0x5a; 256 * 1024];
    let mut out = Vec::new();
    let mut group = criterion.benchmark_group("seal");
    group.throughput(Throughput::Bytes(256 * 1024));
    group.bench_function("256 KiB, AES-128-GCM, TLS 1.2", |bencher| {
        bencher.iter_custom(|times| {
            let begin = on_processor();
            for _ in 0..times {
                out.clear();
                stream.seal(black_box(&body), &mut out);
            }
            on_processor().saturating_sub(begin)
        });
    });
    group.finish();
    Ok(())
}

criterion_group!(all, benches);
criterion_main!(all);
