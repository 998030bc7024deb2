//! `cargo xtask demo`: the main job, shown. A test network in namespaces, the server on its
//! embedded defaults, one machine with real UEFI firmware and 200 simulated ones.

mod view;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bootstorm_e2e::cases::Programs;
use bootstorm_e2e::guest::Guest;
use bootstorm_e2e::lab::{Lab, Lan, Node, SERVER, Subnet};
use bootstorm_e2e::process::Running;
use bootstorm_e2e::qemu::{Firmware, Hardware, Machine, Try};
use bootstorm_e2e::server::{Server, Setup};
use bootstorm_e2e::suite::Suite;
use bootstorm_e2e::{command, images, packages, run, stop};

use crate::workspace;
use view::View;

/// Firmware runs in software; on a busy machine it may take a while.
const LIMIT: Duration = Duration::from_secs(300);
const MAC: &str = "52:54:00:99:00:01";
const UUID: &str = "11223344-5566-7788-99aa-bbccddeeff00";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Simulated machines beside the real one
    #[arg(long, default_value_t = 200)]
    machines: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    println!(
        "bootstorm demo\n\
         \x20 1. installs what is missing (Debian packages)\n\
         \x20 2. builds the server and the simulated machines\n\
         \x20 3. makes a test network of namespaces with a DHCP server that is not ours\n\
         \x20 4. boots one machine with real UEFI firmware and {} simulated ones from `bootstorm serve`\n\
         Nothing outside the namespaces is touched.\n",
        arguments.machines
    );
    let packages = packages::install(packages::BOOT);
    let server = workspace::build_server()?;
    println!("Building the simulated machines");
    let load = workspace::build("bootstorm-load", "bootstorm-load")?;
    if !command::is_root() {
        println!("\nNot root: no namespaces, no firmware. Showing the part that can be shown.");
        return without_root(&server);
    }
    packages?;
    storm(arguments, &server, &load)
}

/// The server alone, on ports that need no privileges: it starts, is asked for a script, stops.
fn without_root(server: &Path) -> Result<ExitCode> {
    let folder = workspace::target().join("demo");
    fs::create_dir_all(folder.join("images"))?;
    let mut serve = std::process::Command::new(server);
    serve
        .arg("serve")
        .arg("--images")
        .arg(folder.join("images"));
    serve.arg("--data").arg(folder.join("data"));
    let listen = [
        "dhcp=off",
        "pxe=off",
        "dhcp6=off",
        "syslog=off",
        "tftp=127.0.0.1:16069",
        "http=127.0.0.1:18080",
        "https=127.0.0.1:18050",
        "web=127.0.0.1:18051",
    ];
    for listener in listen {
        serve.args(["--listen", listener]);
    }
    let mut server = Running::start("server", &folder, serve)?;
    let out = server.stdout().to_owned();
    stop::wait_for("`ready` from the server", Duration::from_secs(60), || {
        server.check()?;
        Ok(command::read(&out)?
            .lines()
            .any(|line| line == "ready")
            .then_some(()))
    })?;
    print!("{}", command::read(&out)?);
    let mut curl = std::process::Command::new("curl");
    let script = command::output(curl.args(["-sS", "--fail", "http://127.0.0.1:18080/boot"]))?;
    println!("\nThe script that an unknown machine gets:\n{script}");
    server.stop()?;
    println!("The whole demo, with real firmware: sudo -E cargo xtask demo");
    Ok(ExitCode::SUCCESS)
}

fn storm(arguments: &Arguments, program: &Path, load: &Path) -> Result<ExitCode> {
    stop::listen()?;
    let work = workspace::target().join("e2e");
    let folder = workspace::target().join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let shelf = run::shelf(&work);
    let guest = Guest::build(&shelf, &work.join("guest"))?;
    let pictures = folder.join("images");
    let cmdline = "console=ttyS0 e2e.case=demo e2e.nonce=demo";
    let programs = images::fill(
        &pictures,
        Programs::Ipxe(Suite::Bookworm),
        &guest,
        &shelf,
        cmdline,
    )?;

    let mut lab = Lab::start(&folder, Lan::V4)?;
    lab.plug_storm()?;
    let server = Server::start(
        &lab,
        &Setup {
            node: Node::Server,
            program: program.to_owned(),
            images: pictures,
            boot: Some(images::ENTRY.to_owned()),
            config: None,
            files: Vec::new(),
        },
    )?;
    let firmware = Firmware::Uefi(Suite::Bookworm);
    println!(
        "\nreal machine:  {}, {programs}",
        firmware.describe(&shelf)?
    );
    println!(
        "kernel:        {} and an initrd that prints a marker",
        guest.version
    );
    println!(
        "web service:   https://{SERVER}:8051 inside the test network: ip netns exec {} curl -k ...\n",
        lab.namespace(Node::Server)
    );
    let hardware = Hardware {
        firmware,
        first: Try::Pxe4,
        mac: MAC.to_owned(),
        uuid: UUID.to_owned(),
        smbios: &[],
        subnet: Subnet::Near,
        trusted: None,
    };
    let machine = Machine::start("machine", &hardware, &lab, &shelf)?;
    let mut storm = lab.command(Node::Storm, load);
    storm.arg(workspace::root().join("loadtest/scenarios/demo.toml"));
    storm.args(["--machines", &arguments.machines.to_string()]);
    let storm = Running::start("storm", &folder, storm)?;
    let passed = watch(&server, &lab, machine, storm, arguments.machines)?;
    lab.check()?;
    server.stop()?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Shows the storm until the real machine printed its marker and the simulated ones are done.
fn watch(
    server: &Server,
    lab: &Lab,
    machine: Machine,
    mut storm: Running,
    machines: u32,
) -> Result<bool> {
    let begun = Instant::now();
    let mut view = View::new(MAC, machines);
    let mut marker = None;
    let mut simulated = None;
    while marker.is_none() || simulated.is_none() {
        if stop::asked() {
            bail!("stopped");
        }
        if begun.elapsed() > LIMIT {
            bail!(
                "not done after {} s; the real machine's console ends with:\n{}",
                LIMIT.as_secs(),
                bootstorm_e2e::process::tail(&machine.console_text(), 15)
            );
        }
        if marker.is_none()
            && machine
                .console_text()
                .contains("bootstorm-e2e demo booted demo")
        {
            marker = Some(begun.elapsed());
        }
        if simulated.is_none() {
            simulated = storm.ended()?.map(|status| (status, begun.elapsed()));
        }
        let clients = server.api(lab, "/api/v1/clients?limit=1000")?;
        view.draw(&serde_json::from_str(&clients)?, begun.elapsed(), marker);
        std::thread::sleep(Duration::from_millis(500));
    }
    view.finish();
    let (status, _) = simulated.context("the simulated machines did not end")?;
    let summary = command::read(storm.stdout())?;
    println!("\nsimulated machines\n{summary}");
    if let Some(after) = marker {
        println!(
            "real UEFI machine: marker on its serial console after {:.1} s",
            after.as_secs_f64()
        );
    }
    if !status.success() {
        println!("the simulated machines did not all boot: {status}");
    }
    Ok(status.success())
}
