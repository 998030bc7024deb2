use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::machine::event::Event;
use crate::machine::plan::Verify;
use crate::machine::profile::Profile;
use crate::machine::simulated::SERVER;
use crate::machine::simulated::web::{Reply, Sim, ok, status};

mod findings;
mod language;

const SCRIPT: &str = "http://10.99.0.2:8050/boot";

/// Boots from files; what is not among them is not found.
fn boot(sim: &mut Sim, files: &[(&str, &str)]) -> Result<Verdict, Code> {
    boot_from(sim, SCRIPT, |request| {
        let target = request.split(' ').nth(1).unwrap();
        let path = target.split('?').next().unwrap();
        let file = files.iter().find(|(name, _)| *name == path);
        file.map_or_else(|| status(404, ""), |(_, body)| ok(body))
    })
}

fn boot_from(
    sim: &mut Sim,
    first: &str,
    server: impl FnMut(&str) -> Reply,
) -> Result<Verdict, Code> {
    let mut boot = Boot::start(first, SERVER, &mut sim.world());
    sim.play(&mut boot, server).map_err(|finding| finding.code)
}

/// Runs a script, with every file there; tells what was asked for behind it.
fn run(script: &str) -> (Result<Verdict, Code>, Vec<String>) {
    let mut sim = Sim::new(Profile::Uefi);
    let end = boot_from(&mut sim, SCRIPT, |request| {
        if request.starts_with("GET /boot ") {
            ok(format!("#!ipxe\n{script}"))
        } else {
            ok("\0program")
        }
    });
    let asked = sim.asked().into_iter().skip(1).map(str::to_owned).collect();
    (end, asked)
}

/// What a script shows is in its last request.
fn shown(script: &str) -> String {
    let (_, asked) = run(script);
    asked.last().cloned().unwrap_or_default()
}

#[test]
fn a_menus_entry_is_booted_after_its_time() {
    let menu = "#!ipxe\n\
        # bootstorm: menu\n\
        set base http://10.99.0.2:8050/images\n\
        menu bootstorm   02:b5:70:00:00:07\n\
        item --key l local Local disk\n\
        item --gap\n\
        item --key 1 entry-deb Debian\n\
        choose --timeout 5000 --default entry-deb chosen || goto local\n\
        goto ${chosen}\n\
        :entry-deb\n\
        imgfree\n\
        set step Loading deb/vmlinuz\n\
        imgfetch --name vmlinuz ${base}/deb/vmlinuz || goto failed\n\
        kernel vmlinuz initrd=a quiet || goto failed\n\
        initrd --name a images/deb/initrd.gz || goto failed\n\
        boot || goto failed\n\
        :failed\n\
        echo [script.step-failed] ${step}\n\
        exit 1\n\
        :local\n\
        exit 1\n";
    let mut sim = Sim::new(Profile::Uefi);
    let files = [
        ("/boot", menu),
        ("/images/deb/vmlinuz", "MZ\0kernel"),
        ("/images/deb/initrd.gz", "\x1f\0initrd"),
    ];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::Booted));
    assert_eq!(sim.took(), Duration::from_secs(5));
    let asked = ["/boot", "/images/deb/vmlinuz", "/images/deb/initrd.gz"];
    assert_eq!(sim.asked(), asked);
    assert_eq!(sim.connects.len(), 1);
    let phases = [Phase::Script, Phase::Kernel, Phase::Booted];
    assert_eq!(sim.phases(), phases);
    assert_eq!(sim.files().len(), 3);
    assert_eq!(sim.found(), []);
}

#[test]
fn a_machine_goes_to_its_disk_when_told_so() {
    for script in [
        "exit 1",
        "exit",
        "echo done",
        "sanboot --no-describe --drive 0x80",
        "reboot",
    ] {
        assert_eq!(
            run(script),
            (Ok(Verdict::LocalDisk), Vec::new()),
            "{script}"
        );
    }
}

#[test]
fn scripts_call_one_another_and_come_back() {
    let mut sim = Sim::new(Profile::Uefi);
    let files = [
        (
            "/boot",
            "#!ipxe\nchain sub/one.ipxe?a=1 || exit\nkernel k\nboot\n",
        ),
        (
            "/sub/one.ipxe",
            "#!ipxe\nset x two\nchain --autofree ${x}.ipxe\nexit 0\n",
        ),
        ("/sub/two.ipxe", "#!ipxe\nimgfetch three\necho back\n"),
        ("/sub/three", "#!ipxe\n"),
        ("/k", "\0"),
    ];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::Booted));
    let asked = [
        "/boot",
        "/sub/one.ipxe?a=1",
        "/sub/two.ipxe",
        "/sub/three",
        "/k",
    ];
    assert_eq!(sim.asked(), asked);
}

#[test]
fn a_replaced_script_is_not_come_back_to() {
    let mut sim = Sim::new(Profile::Uefi);
    let files = [
        (
            "/boot",
            "#!ipxe\nchain --replace --autofree next\nkernel k\nboot\n",
        ),
        ("/next", "#!ipxe\necho nothing\n"),
    ];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::LocalDisk));
    assert_eq!(sim.asked(), ["/boot", "/next"]);
}

#[test]
fn what_a_machine_knows_of_itself_goes_along_as_a_form() {
    let script = "params --name machine || goto query\n\
        param --params machine mac ${netX/mac:hex} ||\n\
        param --params machine uuid ${uuid:uuid} ||\n\
        param --params machine platform ${platform} ||\n\
        param --params machine serial.hex ${serial:hexraw} ||\n\
        param --params machine none ${asset} ||\n\
        param --params machine asked 1\n\
        chain --replace --autofree http://10.99.0.2:8050/next?x=1##params=machine || exit\n\
        :query\nexit\n";
    let mut sim = Sim::new(Profile::Uefi);
    let text = format!("#!ipxe\n{script}");
    let files = [("/boot", text.as_str()), ("/next", "#!ipxe\nexit 0\n")];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::LocalDisk));
    let (head, body) = sim.requests[1].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /next?x=1 HTTP/1.1\r\nContent-Length: "));
    assert_eq!(
        body,
        "mac=02%3Ab5%3A70%3A00%3A00%3A07&uuid=000070b5-6f62-746f-7374-6f726d000007&\
         platform=efi&serial.hex=53544f524d2d303030303037&none=&asked=1"
    );
}

#[test]
fn a_fetch_that_fails_runs_what_stands_behind_it() {
    let mut sim = Sim::new(Profile::Uefi);
    let files = [
        (
            "/boot",
            "#!ipxe\n:retry\nchain ${net0/mac:hexhyp}.ipxe || chain default.ipxe || sleep 5 ;\
             goto retry\n",
        ),
        ("/default.ipxe", "#!ipxe\nkernel k || exit\nboot\n"),
        ("/k", "\0"),
    ];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::Booted));
    let asked = ["/boot", "/02-b5-70-00-00-07.ipxe", "/default.ipxe", "/k"];
    assert_eq!(sim.asked(), asked);
    // A name that a server need not have is no deviation.
    assert_eq!(sim.found(), []);
}

#[test]
fn a_script_that_tries_again_outlives_an_outage() {
    let mut sim = Sim::new(Profile::Uefi);
    let mut outages = 3;
    let end = boot_from(&mut sim, SCRIPT, |request| {
        if request.starts_with("GET /boot ") {
            let retry = ":retry\nkernel k && goto go || sleep 2\ngoto retry\n:go\nboot\n";
            return ok(format!("#!ipxe\n{retry}"));
        }
        outages -= 1;
        if outages >= 0 {
            Reply::Break(b"HTTP/1.1 2".to_vec(), "reset")
        } else {
            ok("\0")
        }
    });
    assert_eq!(end, Ok(Verdict::Booted));
    assert_eq!(sim.took(), Duration::from_secs(6));
    assert_eq!(sim.found(), [Code::HttpReset; 3]);
}

/// What bootstorm's scripts do with a file that does not come.
const PAUSES: &str = "imgfree\n\
    set step Loading vmlinuz\n\
    set here load\n\
    set wait:int32 1200\n\
    :load\n\
    imgfetch --name vmlinuz http://10.99.0.2:8050/k || goto again\n\
    kernel vmlinuz quiet || goto failed\n\
    boot || goto failed\n\
    :again\n\
    iseq ${wait} 4800 && goto failed ||\n\
    echo [script.step-again] ${step}\n\
    prompt --timeout ${wait} did not work. ||\n\
    inc wait ${wait}\n\
    goto ${here}\n\
    :failed\n\
    prompt --timeout 15000 The next boot device follows. ||\n\
    exit 1\n";

/// Of the fetches of the kernel so many break off.
fn pauses(broken: usize) -> (Result<Verdict, Code>, Sim) {
    let mut sim = Sim::new(Profile::Uefi);
    let mut fetches = 0;
    let end = boot_from(&mut sim, SCRIPT, |request| {
        if request.starts_with("GET /boot ") {
            return ok(format!("#!ipxe\n{PAUSES}"));
        }
        fetches += 1;
        if fetches <= broken {
            Reply::Break(
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\0".to_vec(),
                "reset",
            )
        } else {
            ok("\0\0\0")
        }
    });
    (end, sim)
}

#[test]
fn pauses_grow_and_a_file_that_comes_late_is_booted() {
    let (end, sim) = pauses(2);
    assert_eq!(end, Ok(Verdict::Booted));
    assert_eq!(sim.took(), Duration::from_millis(1_200 + 2_400));
    assert_eq!(sim.asked(), ["/boot", "/k", "/k", "/k"]);
    assert_eq!(sim.found(), [Code::HttpReset; 2]);
}

#[test]
fn a_machine_that_has_tried_often_enough_leaves_and_says_why() {
    let (end, sim) = pauses(usize::MAX);
    assert_eq!(end, Err(Code::HttpReset));
    assert_eq!(sim.took(), Duration::from_millis(1_200 + 2_400 + 15_000));
    assert_eq!(sim.asked().len(), 1 + 3);
}

#[test]
fn a_program_in_place_of_a_script_is_booted() {
    for program in ["MZ\0program", "\x7fELF\0"] {
        let mut sim = Sim::new(Profile::Uefi);
        assert_eq!(boot(&mut sim, &[("/boot", program)]), Ok(Verdict::Booted));
        assert_eq!(sim.phases(), [Phase::Kernel, Phase::Booted]);
    }
}

#[test]
fn a_kernels_command_line_says_where_to_report() {
    let mut sim = Sim::new(Profile::Uefi);
    let script = "#!ipxe\nkernel k quiet report=http://10.99.0.2:8050/boot/report?token=x\nboot\n";
    let files = [("/boot", script), ("/k", "\0"), ("/boot/report", "ok\n")];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::Booted));
    assert_eq!(sim.asked()[2], "/boot/report?token=x&state=finished");
    assert_eq!(sim.phases().last(), Some(&Phase::Reported));
    let mut sim = Sim::new(Profile::Uefi);
    assert_eq!(boot(&mut sim, &files[..2]), Ok(Verdict::Booted));
    assert_eq!(sim.found(), [Code::HttpStatus]);
    assert_eq!(sim.phases().last(), Some(&Phase::Booted));
    let mut sim = Sim::new(Profile::Uefi);
    sim.plan.reports = false;
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::Booted));
    assert_eq!(sim.asked().len(), 2);
}

#[test]
fn the_client_in_windows_pe_reports_as_its_instructions_say() {
    let mut sim = Sim::new(Profile::Uefi);
    let script = "#!ipxe\nkernel --name wimboot wimboot gui index=1\n\
        initrd --name bootstorm.json http://10.99.0.2:8050/f/bootstorm.json bootstorm.json\n\
        boot\n";
    let json = r#"{"version":1,"server":"http://10.99.0.2:8050","token":"t&","mac":"02-b5",
        "uuid":null,"entry":"winpe"}"#;
    let files = [
        ("/boot", script),
        ("/wimboot", "MZ\0"),
        ("/f/bootstorm.json", json),
        ("/boot/report", "ok\n"),
    ];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::Booted));
    let bodies: Vec<&str> = sim.requests[3..]
        .iter()
        .map(|request| request.split_once("\r\n\r\n").unwrap().1)
        .collect();
    assert_eq!(
        bodies,
        [
            "state=client-started&token=t%26&mac=02-b5",
            "state=network-up&token=t%26&mac=02-b5",
            "state=done&token=t%26&mac=02-b5"
        ]
    );
    assert_eq!(sim.phases().last(), Some(&Phase::Reported));
}

#[test]
fn files_are_verified_only_where_that_is_asked_for() {
    let mut sim = Sim::new(Profile::Uefi);
    sim.plan.verify = Verify::Length;
    let files = [("/boot", "#!ipxe\nkernel k\nboot\n"), ("/k", "\0")];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::Booted));
    assert!(sim.files().iter().all(|file| file.sha256.is_none()));
}
