use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustls_pki_types::{ServerName, UnixTime};
use tempfile::TempDir;

use super::*;

const NAMES: [&str; 4] = ["boot.test", "localhost", "10.1.2.3", "fd00::7"];

fn names() -> Vec<String> {
    NAMES.map(str::to_owned).to_vec()
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Verifies the chain as a machine with the CA enrolled does.
fn verify(identity: &Identity, name: &str, at: SystemTime) -> Result<(), webpki::Error> {
    let roots = inspect::certificates(Path::new("ca"), &identity.ca_pem).unwrap();
    let anchor = webpki::anchor_from_trusted_cert(&roots[0]).unwrap();
    let leaf = webpki::EndEntityCert::try_from(&identity.chain[0]).unwrap();
    let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[anchor],
        &[],
        at,
        webpki::KeyUsage::server_auth(),
        None,
        None,
    )?;
    leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap())
}

#[test]
fn the_first_start_makes_what_later_starts_use() {
    let data = TempDir::new().unwrap();
    let first = made_here(data.path(), &names(), now()).unwrap();
    let tls = data.path().join("tls");
    assert_eq!(mode(&tls), 0o700);
    assert_eq!(mode(&tls.join("ca.pem")), 0o600);
    assert_eq!(mode(&tls.join("server.pem")), 0o600);
    assert_eq!(
        fs::read_to_string(tls.join("ca.crt")).unwrap(),
        first.ca_pem
    );
    assert_eq!(
        fs::read_dir(&tls).unwrap().count(),
        3,
        "no temporary file is left"
    );
    assert_eq!(first.warnings, []);

    let second = made_here(data.path(), &names()[1..], now()).unwrap();
    assert_eq!(second.chain, first.chain);
    assert_eq!(second.key.secret_der(), first.key.secret_der());
}

#[test]
fn the_chain_holds_for_every_name_from_yesterday_on() {
    let data = TempDir::new().unwrap();
    let now = now();
    let identity = made_here(data.path(), &names(), now).unwrap();
    for name in NAMES {
        verify(&identity, name, now).unwrap();
    }
    verify(
        &identity,
        "boot.test",
        now - days(1) + Duration::from_secs(60),
    )
    .unwrap();
    verify(&identity, "boot.test", now - days(2)).unwrap_err();
    verify(&identity, "boot.test", now + days(364)).unwrap();
    verify(&identity, "boot.test", now + days(366)).unwrap_err();
    verify(&identity, "other.test", now).unwrap_err();
}

#[test]
fn openssl_takes_the_chain_and_sees_the_extensions_that_firmware_looks_for() {
    let data = TempDir::new().unwrap();
    made_here(data.path(), &names(), now()).unwrap();
    let tls = data.path().join("tls");
    let openssl = |args: &[&str]| {
        Command::new("openssl")
            .args(args)
            .current_dir(&tls)
            .output()
    };
    let args = [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-verify_ip",
        "10.1.2.3",
    ];
    let Ok(verified) = openssl(&[&args[..], &["-CAfile", "ca.crt", "server.pem"]].concat()) else {
        eprintln!("no openssl on this machine");
        return;
    };
    let text = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{text}");

    let shown = openssl(&["x509", "-in", "server.pem", "-noout", "-text"]).unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for wanted in [
        "sha256WithRSAEncryption",
        "Public-Key: (2048 bit)",
        "CA:FALSE",
        "Digital Signature, Key Encipherment",
        "TLS Web Server Authentication",
        "Subject Key Identifier",
        "Authority Key Identifier",
        "DNS:boot.test, DNS:localhost, IP Address:10.1.2.3, IP Address:FD00:0:0:0:0:0:0:7",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
    let shown = openssl(&["x509", "-in", "ca.crt", "-noout", "-text"]).unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for wanted in ["CA:TRUE", "Certificate Sign", "Public-Key: (2048 bit)"] {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
}

#[test]
fn the_certificate_is_renewed_before_it_ends_and_the_ca_stays() {
    let data = TempDir::new().unwrap();
    let now = now();
    let first = made_here(data.path(), &names(), now).unwrap();
    let same = made_here(data.path(), &names(), now + days(330)).unwrap();
    assert_eq!(same.chain, first.chain);
    let renewed = made_here(data.path(), &names(), now + days(340)).unwrap();
    assert_ne!(renewed.chain[0], first.chain[0]);
    assert_eq!(renewed.ca_pem, first.ca_pem);
    verify(&renewed, "10.1.2.3", now + days(700)).unwrap();
}

#[test]
fn a_new_address_asks_for_a_new_certificate() {
    let data = TempDir::new().unwrap();
    let first = made_here(data.path(), &names(), now()).unwrap();
    let mut more = names();
    more.push("10.9.9.9".to_owned());
    let renewed = made_here(data.path(), &more, now()).unwrap();
    assert_eq!(renewed.ca_pem, first.ca_pem);
    verify(&renewed, "10.9.9.9", now()).unwrap();
}

#[test]
fn a_clock_that_was_set_back_gets_a_certificate_that_has_begun() {
    let data = TempDir::new().unwrap();
    let now = now();
    made_here(data.path(), &names(), now).unwrap();
    let earlier = made_here(data.path(), &names(), now - days(10)).unwrap();
    assert_eq!(earlier.warnings[0].code, "cert.not-yet-valid");
    assert!(earlier.not_after < now + days(356));
}

#[test]
fn a_ca_that_ended_is_told_and_left_alone() {
    let data = TempDir::new().unwrap();
    let first = made_here(data.path(), &names(), now()).unwrap();
    let late = made_here(data.path(), &names(), now() + days(3400)).unwrap();
    assert_eq!(late.warnings[0].code, "cert.ca-ends-soon");
    assert!(late.not_after < now() + days(3651), "never beyond the CA");
    let error = made_here(data.path(), &names(), now() + days(3651)).unwrap_err();
    assert_eq!(error.code(), "cert.ca-ended");
    let kept = fs::read_to_string(data.path().join("tls/ca.pem")).unwrap();
    assert!(kept.ends_with(&first.ca_pem));
}

#[test]
fn a_damaged_file_is_an_error_and_never_replaced() {
    for (file, text) in [
        ("ca.pem", ""),
        ("ca.pem", "rubbish"),
        (
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        ("server.pem", "rubbish"),
    ] {
        let data = TempDir::new().unwrap();
        made_here(data.path(), &names(), now()).unwrap();
        let path = data.path().join("tls").join(file);
        fs::write(&path, text).unwrap();
        let error = made_here(data.path(), &names(), now()).unwrap_err();
        assert_eq!(error.code(), "cert.damaged", "{file} {text:?}: {error}");
        assert!(error.to_string().contains(file), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_ca_cut_short_anywhere_is_an_error() {
    let data = TempDir::new().unwrap();
    made_here(data.path(), &names(), now()).unwrap();
    let path = data.path().join("tls/ca.pem");
    let whole = fs::read_to_string(&path).unwrap();
    // The last byte is a line end that nothing needs.
    for end in (0..whole.len() - 1).step_by(97) {
        fs::write(&path, &whole[..end]).unwrap();
        let error = made_here(data.path(), &names(), now()).unwrap_err();
        assert_eq!(error.code(), "cert.damaged", "cut at {end}: {error}");
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let data = TempDir::new().unwrap();
    let missing = data.path().join("missing");
    let error = made_here(&missing, &names(), now()).unwrap_err();
    assert_eq!(error.code(), "cert.unwritable");

    fs::create_dir_all(data.path().join("tls/ca.pem")).unwrap();
    let error = made_here(data.path(), &names(), now()).unwrap_err();
    assert_eq!(error.code(), "cert.unreadable");
    assert!(error.to_string().contains("ca.pem"), "{error}");
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    made_here(one.path(), &names(), now()).unwrap();
    made_here(other.path(), &names(), now()).unwrap();
    let key = fs::read_to_string(one.path().join("tls/ca.pem")).unwrap();
    let key = &key[..key.find("-----BEGIN CERT").unwrap()];
    let cert = fs::read_to_string(other.path().join("tls/ca.crt")).unwrap();
    fs::write(one.path().join("tls/ca.pem"), format!("{key}{cert}")).unwrap();
    let error = made_here(one.path(), &names(), now()).unwrap_err();
    assert_eq!(error.code(), "cert.key-mismatch");
}

#[test]
fn a_key_that_others_could_read_is_closed_and_told() {
    let data = TempDir::new().unwrap();
    made_here(data.path(), &names(), now()).unwrap();
    let path = data.path().join("tls/ca.pem");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let identity = made_here(data.path(), &names(), now()).unwrap();
    assert_eq!(identity.warnings[0].code, "cert.key-open");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_missing_copy_of_the_ca_is_written_again() {
    let data = TempDir::new().unwrap();
    let identity = made_here(data.path(), &names(), now()).unwrap();
    let copy = data.path().join("tls/ca.crt");
    fs::remove_file(&copy).unwrap();
    made_here(data.path(), &names(), now()).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), identity.ca_pem);
}

/// Lays a certificate, its issuer and its key out as an owner would.
fn owned(folder: &Path) -> OwnCertificate {
    let identity = made_here(folder, &names(), now()).unwrap();
    let own = OwnCertificate {
        chain: folder.join("chain.pem"),
        key: folder.join("key.pem"),
        ca: None,
    };
    let chain: String = identity.chain.iter().map(inspect::to_pem).collect();
    fs::write(&own.chain, chain).unwrap();
    fs::copy(folder.join("tls/server.pem"), &own.key).unwrap();
    own
}

#[test]
fn the_owners_certificate_is_taken_with_its_chain() {
    let data = TempDir::new().unwrap();
    let own = owned(data.path());
    let identity = own::identity(&own, &names(), now()).unwrap();
    assert_eq!(identity.chain.len(), 2);
    assert_eq!(identity.warnings, []);
    verify(&identity, "boot.test", now()).unwrap();
}

#[test]
fn the_owners_certificate_is_refused_when_it_cannot_work() {
    let data = TempDir::new().unwrap();
    let own = owned(data.path());
    let code = |own: &OwnCertificate, now| own::identity(own, &names(), now).unwrap_err().code();
    assert_eq!(code(&own, now() + days(366)), "cert.expired");

    let (other, fixtures) = (TempDir::new().unwrap(), Path::new("tests/fixtures"));
    let strange = OwnCertificate {
        key: owned(other.path()).key,
        ..own.clone()
    };
    assert_eq!(code(&strange, now()), "cert.key-mismatch");

    let weak = OwnCertificate {
        chain: fixtures.join("rsa1024.crt"),
        key: fixtures.join("rsa1024.key"),
        ca: None,
    };
    assert_eq!(code(&weak, now()), "cert.weak");

    let missing = OwnCertificate {
        chain: data.path().join("none.pem"),
        ..own.clone()
    };
    assert_eq!(code(&missing, now()), "cert.unreadable");

    let text = fs::read_to_string(&own.chain).unwrap();
    let twice = format!("{text}{text}");
    fs::write(&own.chain, twice).unwrap();
    assert_eq!(code(&own, now()), "cert.chain-order");
}

#[test]
fn the_owners_certificate_may_trouble_some_machines() {
    let data = TempDir::new().unwrap();
    let own = owned(data.path());
    let warned = |names: &[String], now| {
        let identity = own::identity(&own, names, now).unwrap();
        let codes: Vec<_> = identity.warnings.iter().map(|w| w.code).collect();
        codes
    };
    assert_eq!(warned(&["a.test".to_owned()], now()), ["cert.wrong-name"]);
    assert_eq!(warned(&names(), now() + days(350)), ["cert.ends-soon"]);
    let chain = fs::read_to_string(&own.chain).unwrap();
    let leaf = chain
        .split_inclusive("-----END CERTIFICATE-----\n")
        .next()
        .unwrap();
    fs::write(&own.chain, leaf).unwrap();
    assert_eq!(warned(&names(), now()), ["cert.no-root"]);
}

#[test]
fn a_refresh_swaps_the_certificate_for_later_connections() {
    let data = TempDir::new().unwrap();
    let config = AuthorityConfig {
        data: data.path().to_owned(),
        hosts: vec!["boot.test".to_owned()],
        own: None,
    };
    let authority = Authority::open(config).unwrap();
    assert!(!authority.refresh().unwrap());
    let before = authority.identity();
    fs::remove_file(data.path().join("tls/server.pem")).unwrap();
    assert!(authority.refresh().unwrap());
    let after = authority.identity();
    assert_ne!(after.chain[0], before.chain[0]);
    assert_eq!(after.chain[1], before.chain[1]);
    assert_eq!(authority.resolver.0.load().cert, after.chain);
}
