use super::*;
use bootstorm_proto::types::Family;

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::for_system();
    change(&mut config);
    config
}

/// Severity, code and key of each finding.
fn found(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let findings = config(change).lint();
    let brief = |f: Finding| {
        let severity = match f.severity {
            Severity::Error => 'E',
            Severity::Warning => 'W',
        };
        format!("{severity} {} {}", f.code, f.key)
    };
    findings.into_iter().map(brief).collect()
}

fn machine(mac: &str, guid: &str, boot: &str) -> crate::Machine {
    crate::Machine {
        mac: mac.parse().ok(),
        guid: guid.parse().ok(),
        name: None,
        boot: (!boot.is_empty()).then(|| boot.to_owned()),
    }
}

#[test]
fn the_defaults_are_clean() {
    assert_eq!(Config::for_system().lint(), []);
    assert_eq!(Config::for_user().lint(), []);
}

#[test]
fn listeners_cannot_share_a_port() {
    let clash = |assignments: &[&str]| {
        found(|c| {
            for assignment in assignments {
                c.listen.set(assignment).unwrap();
            }
        })
    };
    assert_eq!(
        clash(&["https=:8080"]),
        ["E config.port-clash listen.https"]
    );
    assert_eq!(
        clash(&["web=127.0.0.1:8080"]),
        ["E config.port-clash listen.web"]
    );
    assert_eq!(
        clash(&["syslog=[::1]:69"]),
        ["E config.port-clash listen.syslog"]
    );
    assert_eq!(clash(&["http=127.0.0.1:80", "web=127.0.0.2:80"]), [""; 0]);
    assert_eq!(clash(&["http=:69", "web=:0", "https=:0"]), [""; 0]);
    assert_eq!(
        clash(&["pxe=:64500"]),
        ["E config.port-clash tftp.data_ports"]
    );
}

#[test]
fn services_that_lead_nowhere_are_told() {
    let off = |names: &[&str], change: fn(&mut Config)| {
        found(|c| {
            for name in names {
                c.listen.set(&format!("{name}=off")).unwrap();
            }
            change(c);
        })
    };
    assert_eq!(
        off(&["http"], |_| ()),
        [
            "W config.listener-off boot.script_scheme",
            "W config.listener-off boot.http_boot_scheme"
        ]
    );
    let https = |c: &mut Config| {
        c.boot.script_scheme = Scheme::Https;
        c.boot.http_boot_scheme = Scheme::Https;
    };
    assert_eq!(off(&["http"], https), [""; 0]);
    assert_eq!(
        off(&["tftp"], |_| ()),
        ["W config.listener-off listen.tftp"]
    );
    assert_eq!(off(&["pxe"], |_| ()), ["W config.listener-off listen.pxe"]);
    let all_in_one = |c: &mut Config| c.boot.uefi = UefiOffer::AllInOne;
    assert_eq!(off(&["pxe"], all_in_one), [""; 0]);
    assert_eq!(off(&["pxe", "dhcp", "dhcp6", "tftp"], |_| ()), [""; 0]);
}

#[test]
fn keys_are_never_served_as_images() {
    let folders = |images: &str, data: &str| {
        found(|c| {
            c.images = images.into();
            c.data = data.into();
        })
    };
    assert_eq!(folders("/x", "/x"), ["E config.data-in-images data"]);
    assert_eq!(folders("/x", "/x/data"), ["E config.data-in-images data"]);
    assert_eq!(folders(".", "data"), ["E config.data-in-images data"]);
    assert_eq!(
        folders("/x/images", "/x"),
        ["W config.images-in-data images"]
    );
    assert_eq!(folders("/x", "/xy"), [""; 0]);
}

#[test]
fn a_link_into_the_images_is_seen_through() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir_all(images.join("data")).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(images.join("data"), &link).unwrap();
    let found = found(|c| {
        c.images = images;
        c.data = link.join("not-there-yet");
    });
    assert_eq!(found, ["E config.data-in-images data"]);
}

#[test]
fn machines_are_named_once_and_sensibly() {
    let a = "52:54:00:00:00:01";
    let guid = "11223344-5566-7788-99aa-bbccddeeff00";
    let found = found(|c| {
        c.machines = vec![
            machine(a, guid, "debian-13"),
            machine(a, "", "win/boot 11.wim"),
            machine("", guid, "local"),
            machine("01:00:5e:00:00:01", "", "../${x}"),
            machine("", &"f".repeat(32), "menu"),
        ];
        c.machines[1].name = Some("a\u{1b}[0m".to_owned());
    });
    assert_eq!(
        found,
        [
            "E config.duplicate machine[1].mac",
            "E config.bad-value machine[1].name",
            "E config.duplicate machine[2].guid",
            "E config.bad-value machine[3].mac",
            "E config.bad-entry machine[3].boot",
            "E config.bad-value machine[4].guid",
        ]
    );
}

#[test]
fn names_that_go_into_urls_and_packets_are_checked() {
    let host = |host: &str| found(|c| c.host = Some(host.to_owned()));
    assert_eq!(host("boot.example.net"), [""; 0]);
    assert_eq!(host("2001:db8::1"), [""; 0]);
    for bad in ["http://boot", "boot:80", "boot/", "", "-a", "a..b", "a b"] {
        assert_eq!(host(bad), ["E config.bad-value host"], "{bad}");
    }
    let nbp = |name: &str| found(|c| drop(c.boot.nbp.insert(Family::X64, vec![name.to_owned()])));
    assert_eq!(nbp("efi/shimx64.efi"), [""; 0]);
    for bad in [
        "",
        "../x",
        "a\\..\\b",
        "http://x/y",
        "a\0",
        &"x".repeat(128),
    ] {
        assert_eq!(nbp(bad), ["E config.bad-value boot.nbp.x64"], "{bad}");
    }
    let interfaces = |names: &[&str]| {
        found(|c| c.interfaces = names.iter().map(|n| n.parse().unwrap()).collect())
    };
    assert_eq!(
        interfaces(&["eth0", "eth0"]),
        ["W config.duplicate interfaces[1]"]
    );
}

#[test]
fn rates_without_effect_are_warned_of() {
    let rates = |one: &str, all: &str| {
        found(|c| {
            c.interfaces = vec!["eth0".parse().unwrap()];
            c.pacing.per_machine = one.parse().ok();
            c.pacing.total = all.parse().ok();
            c.pacing.interface.insert("eth0".to_owned(), None);
        })
    };
    assert_eq!(rates("1G", "1G"), [""; 0]);
    assert_eq!(rates("2G", "1G"), ["W config.no-effect pacing.per_machine"]);
    let eth1_beside = |choice: &str| {
        found(|c| {
            c.interfaces = vec![choice.parse().unwrap()];
            c.pacing.interface.insert("eth1".to_owned(), None);
        })
    };
    let without_effect = ["W config.no-effect pacing.interface.eth1"];
    assert_eq!(eth1_beside("eth0"), without_effect);
    assert_eq!(eth1_beside("!eth1"), without_effect);
    assert_eq!(eth1_beside("!eth0"), [""; 0]);
    assert_eq!(eth1_beside("10.0.0.5"), [""; 0]);
}

#[test]
fn half_a_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.pem");
    std::fs::write(&file, "").unwrap();
    let tls = |certificate: Option<&Path>, key: Option<&Path>| {
        found(|c| {
            c.tls.certificate = certificate.map(Path::to_owned);
            c.tls.key = key.map(Path::to_owned);
        })
    };
    assert_eq!(
        tls(Some(&file), None),
        ["E config.tls-half tls.certificate"]
    );
    assert_eq!(tls(None, Some(&file)), ["E config.tls-half tls.key"]);
    assert_eq!(tls(Some(&file), Some(&file)), [""; 0]);
    let missing = folder.path().join("b.pem");
    assert_eq!(
        tls(Some(&file), Some(&missing)),
        ["E config.no-such-file tls.key"]
    );
}
