//! What is wrong with scripts, and that nothing in them does any harm.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_no_script_is_told() {
    let code = |body: &str| {
        let mut sim = Sim::new(Profile::Uefi);
        boot(&mut sim, &[("/boot", body)]).unwrap_err()
    };
    assert_eq!(
        code("<!DOCTYPE html>\n<title>404</title>"),
        Code::ScriptHtml
    );
    assert_eq!(code("\n <HTML>"), Code::ScriptHtml);
    assert_eq!(code("default menu.c32\n"), Code::ScriptNotAScript);
    assert_eq!(code("#!ipxes\n"), Code::ScriptNotAScript);
    assert_eq!(code(""), Code::ScriptNotAScript);
    let large = format!("#!ipxe\n{}", "#".repeat(crate::machine::body::SCRIPT_MAX));
    assert_eq!(code(&large), Code::ScriptTooLarge);
    let mut sim = Sim::new(Profile::Uefi);
    let end = boot_from(&mut sim, SCRIPT, |_| ok(b"#!ipxe\n\xff\n"));
    assert_eq!(end, Err(Code::ScriptNotAScript));
}

#[test]
fn what_is_wrong_in_a_script_is_told() {
    let found = |script: &str| {
        let mut sim = Sim::new(Profile::Uefi);
        let script = format!("#!ipxe\n{script}\n");
        let end = boot(&mut sim, &[("/boot", &script)]);
        (end, sim.found())
    };
    let local = Ok(Verdict::LocalDisk);
    let (unknown, nowhere) = (Code::ScriptUnknownCommand, Code::ScriptGotoNowhere);
    assert_eq!(found("frobnicate ||"), (local, vec![unknown]));
    assert_eq!(found("kernel --frob k ||"), (local, vec![unknown]));
    assert_eq!(found("frobnicate"), (Err(unknown), vec![unknown]));
    assert_eq!(found("goto x ||"), (local, vec![nowhere]));
    assert_eq!(found("goto x"), (Err(nowhere), vec![nowhere]));
    assert_eq!(found("shell"), (Err(Code::ScriptShell), vec![]));
    assert_eq!(
        found("sanboot http://a/b.iso"),
        (Err(Code::ScriptSanboot), vec![])
    );
    assert_eq!(
        found("chain ftp://a/b || exit"),
        (local, vec![Code::UrlScheme])
    );
    assert_eq!(
        found("chain http:///b || exit"),
        (local, vec![Code::UrlMalformed])
    );
    let (end, _) = found("chain http://else.example/b || exit");
    assert_eq!(end, Err(Code::UrlNameUnknown));
}

#[test]
fn a_missing_kernel_is_why_a_machine_went_to_its_disk() {
    let mut sim = Sim::new(Profile::Uefi);
    let files = [(
        "/boot",
        "#!ipxe\nkernel k || goto failed\nboot\n:failed\nprompt -t 99 x ||\nexit 1\n",
    )];
    assert_eq!(boot(&mut sim, &files), Err(Code::HttpStatus));
    assert_eq!(sim.took(), Duration::from_millis(99));
}

#[test]
fn a_web_page_for_a_kernel_is_told() {
    let mut sim = Sim::new(Profile::Uefi);
    let end = boot_from(&mut sim, SCRIPT, |request| {
        if request.starts_with("GET /boot ") {
            return ok("#!ipxe\nkernel k\nboot\n");
        }
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/HTML; charset=utf-8\r\n\
                    Content-Length: 2\r\n\r\n<>";
        Reply::Send(page.as_bytes().to_vec())
    });
    assert_eq!(
        (end, sim.found()),
        (Ok(Verdict::Booted), vec![Code::HttpType])
    );
}

#[test]
fn loops_of_every_kind_come_to_an_end() {
    let looping = |script: &str| {
        let mut sim = Sim::new(Profile::Uefi);
        let script = format!("#!ipxe\n{script}\n");
        boot(&mut sim, &[("/boot", &script)])
    };
    assert_eq!(looping(":a\ngoto a"), Err(Code::ScriptLoops));
    assert_eq!(looping("chain boot"), Err(Code::ScriptLoops));
    assert_eq!(looping("chain --replace boot"), Err(Code::ScriptLoops));
    assert_eq!(looping(":a\nchain no ||\ngoto a"), Err(Code::ScriptLoops));
    assert_eq!(
        looping("set a ${a}x\nset b $\nset a {a}\necho ${b}${a}"),
        Ok(Verdict::LocalDisk)
    );
    let grows = "set a 0123456789\n:l\nset a ${a}${a}\ngoto l";
    assert_eq!(looping(grows), Err(Code::ScriptFailed));
}

#[test]
fn a_machine_that_boots_by_https_is_not_to_get_http() {
    for (profile, first, code) in [
        (
            Profile::IpxeHttps,
            "http://10.99.0.2/boot",
            Code::ProfileHttpInsteadOfHttps,
        ),
        (
            Profile::IpxeHttp,
            "https://10.99.0.2/boot",
            Code::ProfileHttpsInsteadOfHttp,
        ),
    ] {
        let mut sim = Sim::new(profile);
        let end = boot_from(&mut sim, first, |_| ok("#!ipxe\n"));
        assert_eq!((end, sim.found()), (Ok(Verdict::LocalDisk), vec![code]));
    }
}

#[test]
fn what_leads_nowhere_fails_at_once() {
    for (first, code) in [
        ("", Code::UrlMalformed),
        ("ftp://10.99.0.2/x", Code::UrlScheme),
        ("http://else.example/x", Code::UrlNameUnknown),
    ] {
        let mut sim = Sim::new(Profile::Uefi);
        let mut boot = Boot::start(first, Ipv4Addr::LOCALHOST, &mut sim.world());
        let end = sim.play(&mut boot, |_| Reply::Nothing);
        assert_eq!(end.unwrap_err().code, code);
        assert_eq!(sim.took(), Duration::ZERO);
        assert!(
            !sim.events
                .iter()
                .any(|event| matches!(event, Event::Reached(_)))
        );
    }
}

/// Words that get a script far.
fn words() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "set",
        "clear",
        "inc",
        "isset",
        "iseq",
        "goto",
        "menu",
        "item",
        "choose",
        "prompt",
        "sleep",
        "kernel",
        "initrd",
        "imgfetch",
        "imgargs",
        "imgfree",
        "imgselect",
        "chain",
        "boot",
        "params",
        "param",
        "exit",
        "echo",
        "autoboot",
        "cpuid",
        "read",
        "||",
        "&&",
        ";",
        "#",
        "a",
        "b",
        "${a}",
        "${a${b}}",
        "${",
        "}",
        "a:hex",
        "${a:hexraw}",
        "--name",
        "--timeout",
        "--default",
        "--replace",
        "-",
        "--",
        "--name=",
        "1",
        "99999999999999999999",
        "-1",
        ":a",
        "\\",
        "\n",
        "\n",
        "\n:a\n",
        "\n:b\n",
        "##params",
        "k##params=a",
        "/x",
        "//10.99.0.2/y",
        "..",
        "tele://",
        "http://10.99.0.2/z",
        "\u{e4}\u{1f600}",
        "0123456789abcdef",
    ])
}

proptest! {
    #[test]
    fn no_script_panics_or_runs_for_ever(
        words in proptest::collection::vec(words(), 0..80),
        wild in "\\PC{0,60}",
    ) {
        let script = format!("#!ipxe\n{}\n{wild}\n", words.join(" "));
        let mut sim = Sim::new(Profile::Uefi);
        let _ = boot_from(&mut sim, SCRIPT, |request| {
            if request.starts_with("GET /boot ") {
                ok(&script)
            } else if request.contains("/x") {
                ok("#!ipxe\nset a ${a}b\nkernel k\n")
            } else {
                status(404, "")
            }
        });
        prop_assert!(sim.requests.len() <= 2_001);
    }
}
