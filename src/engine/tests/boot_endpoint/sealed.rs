//! HTTPS.

use std::io::Write;
use std::process::Command;

use bootstorm_telemetry::event::{Protocol, What};

use crate::lab::{LARGE, Lab, each_driver, response, run};

fn openssl(lab: &Lab, arguments: &[&str], request: &[u8]) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-ign_eof", "-verify_return_error", "-connect"])
        .arg(lab.https.to_string())
        .arg("-CAfile")
        .arg(lab.certificate.path())
        .args(arguments);
    let output = run(&mut command, request);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn curl_fetches_files_and_scripts_with_tls_1_2_and_1_3() {
    each_driver(|lab| {
        for version in ["1.2", "1.3"] {
            let image = format!("https://{}/images/large.wim", lab.https);
            let script = format!("https://{}/boot", lab.https);
            let fetched = lab.curl(&["--tls-max", version, &image, &script]).stdout;
            assert!(fetched[..LARGE] == lab.content("large.wim"));
            assert_eq!(fetched[LARGE..], *b"#!ipxe\necho https /boot \n");
            let size = lab.event(|event| match &event.what {
                What::Finished { bytes, .. } => Some(*bytes),
                _ => None,
            });
            assert_eq!(size, LARGE as u64);
        }
    });
}

#[test]
fn firmware_that_knows_dhe_alone_is_served() {
    each_driver(|lab| {
        let dhe = ["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"];
        let said = openssl(lab, &dhe, b"GET /boot HTTP/1.0\r\n\r\n");
        assert!(said.contains("echo https /boot"), "{said}");
    });
}

#[test]
fn a_client_without_our_ca_is_seen() {
    each_driver(|lab| {
        let mut command = Command::new("curl");
        command.args(["-sS", &format!("https://{}/boot", lab.https)]);
        let output = run(&mut command, b"");
        assert_eq!(output.status.code(), Some(60));
        let ip = lab.event(|event| match &event.what {
            What::Refused {
                protocol: Protocol::Https,
                reason,
                ..
            } if reason.code == "tls.unknown-ca" => event.ip,
            _ => None,
        });
        assert_eq!(ip, lab.https.ip());
    });
}

#[test]
fn plain_http_on_the_tls_port_is_answered_and_told() {
    each_driver(|lab| {
        let mut socket = std::net::TcpStream::connect(lab.https).unwrap();
        socket
            .write_all(b"GET /boot HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        let (head, _) = response(&mut socket);
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert_eq!(lab.failure(), "tls.plain-http");
    });
}
