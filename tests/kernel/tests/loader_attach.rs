//! Attaching, being in somebody's way, and letting go.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::EbpfLoader;
use aya::programs::{Xdp, XdpMode};
use bootstorm_kernel_tests::holder::{Holder, start, within};
use bootstorm_kernel_tests::network::{cable, in_namespace, ip, xdp_of};
use bootstorm_kernel_tests::other_program;
use bootstorm_xdp::{Attached, Classifier, Mode, XdpError};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const HOLD: &str = env!("CARGO_BIN_EXE_hold");
/// The thread looks every two seconds.
const NOTICED: Duration = Duration::from_secs(10);

#[test]
fn native_mode_on_a_cable_until_it_is_dropped() {
    in_namespace(|| {
        cable("x", 1)?;
        let classifier = start(Mode::Native, false, &["xa"])??;
        assert_eq!(attached(&classifier), [Attached::Native]);
        assert_eq!(xdp_of("xa")?.as_deref(), Some("xdp"));
        assert_eq!(xdp_of("xb")?, None);
        drop(classifier);
        assert_eq!(xdp_of("xa")?, None);
        Ok(())
    });
}

#[test]
fn generic_mode_where_it_is_asked_for() {
    in_namespace(|| {
        cable("x", 1)?;
        let classifier = start(Mode::Generic, false, &["xa"])??;
        assert_eq!(attached(&classifier), [Attached::Generic(None)]);
        assert_eq!(xdp_of("xa")?.as_deref(), Some("xdpgeneric"));
        Ok(())
    });
}

#[test]
fn auto_takes_the_best_of_each_interface_and_says_why_not_better() {
    in_namespace(|| {
        cable("x", 1)?;
        let classifier = start(Mode::Auto, false, &["xa", "lo"])??;
        let [cable, lo] = &classifier.attachments()[..] else {
            panic!("two interfaces")
        };
        assert_eq!(cable.attached, Attached::Native);
        assert_eq!(cable.to_string(), "xa: classifier in native XDP");
        assert_eq!(lo.attached.name(), "generic");
        let why = lo.attached.why().context("a reason")?;
        assert_eq!(why.code(), "xdp.no-native");
        assert!(why.to_string().contains("os error 95"), "{why}");
        assert!(lo.to_string().contains("[xdp.no-native]"), "{lo}");
        Ok(())
    });
}

#[test]
fn native_mode_by_name_is_an_error_where_there_is_none() {
    in_namespace(|| {
        cable("x", 1)?;
        let error = start(Mode::Native, false, &["xa", "lo"])?.err();
        assert_eq!(error.context("lo has none")?.code(), "xdp.no-native");
        assert_eq!(xdp_of("xa")?, None, "nothing is left behind");
        Ok(())
    });
}

#[test]
fn off_attaches_nothing() {
    in_namespace(|| {
        cable("x", 1)?;
        let classifier = start(Mode::Off, false, &["xa"])??;
        assert_eq!(attached(&classifier), [Attached::Off]);
        assert_eq!(xdp_of("xa")?, None);
        Ok(())
    });
}

#[test]
fn both_ends_of_cables_in_either_order() {
    in_namespace(|| {
        cable("x", 1)?;
        cable("y", 2)?;
        let names = ["xa", "xb", "yb", "ya"];
        let classifier = start(Mode::Auto, false, &names)??;
        assert!(attached(&classifier).iter().all(|a| *a == Attached::Native));
        for name in names {
            assert_eq!(xdp_of(name)?.as_deref(), Some("xdp"), "{name}");
        }
        Ok(())
    });
}

#[test]
fn it_loads_and_attaches_fast() {
    in_namespace(|| {
        cable("x", 1)?;
        let begun = Instant::now();
        let _classifier = start(Mode::Native, false, &["xa"])??;
        let taken = begun.elapsed();
        println!("loaded and attached in {taken:?}");
        assert!(taken < Duration::from_secs(5), "{taken:?}");
        Ok(())
    });
}

#[test]
fn a_kernel_without_btf_of_its_own_takes_it() {
    in_namespace(|| {
        cable("x", 1)?;
        hide("/sys/kernel/btf")?;
        ensure!(!std::fs::exists("/sys/kernel/btf/vmlinux")?, "still there");
        let classifier = start(Mode::Native, false, &["xa"])??;
        assert_eq!(attached(&classifier), [Attached::Native]);
        Ok(())
    });
}

#[test]
fn a_second_instance_finds_the_first_one() {
    in_namespace(|| {
        cable("x", 1)?;
        let _first = start(Mode::Native, false, &["xa"])??;
        for mode in [Mode::Native, Mode::Generic] {
            let error = start(mode, false, &["xa"])?.err().context("it is taken")?;
            assert_eq!(error.code(), "xdp.occupied");
            let text = error.to_string();
            assert!(text.contains("another bootstorm"), "{text}");
        }
        let second = start(Mode::Auto, false, &["xa"])??;
        assert_eq!(codes(&second), [Some("xdp.occupied")]);
        Ok(())
    });
}

#[test]
fn a_second_instance_takes_the_place_when_it_is_told_to_and_the_first_one_notices() {
    in_namespace(|| {
        cable("x", 1)?;
        let first = start(Mode::Generic, false, &["xa"])??;
        let second = start(Mode::Native, true, &["xa"])??;
        assert_eq!(attached(&second), [Attached::Native]);
        assert_eq!(xdp_of("xa")?.as_deref(), Some("xdp"));
        within(NOTICED, "the first one was taken off", || {
            Ok(codes(&first) == [Some("xdp.detached")])
        })?;
        drop(first);
        assert_eq!(xdp_of("xa")?.as_deref(), Some("xdp"));
        Ok(())
    });
}

#[test]
fn a_program_that_a_link_holds_is_left_alone_unless_told_otherwise() {
    in_namespace(|| {
        cable("x", 1)?;
        let mut other = EbpfLoader::new().load(&other_program::object()?)?;
        let program: &mut Xdp = other
            .program_mut(other_program::NAME)
            .context("it is in the object")?
            .try_into()?;
        program.load()?;
        program.attach("xa", XdpMode::Driver)?;
        occupied_then_replaced()
    });
}

#[test]
fn a_program_that_no_link_holds_is_left_alone_unless_told_otherwise() {
    in_namespace(|| {
        cable("x", 1)?;
        attach_by_netlink("xdpgeneric")?;
        occupied_then_replaced()?;
        attach_by_netlink("xdpdrv")?;
        occupied_then_replaced()
    });
}

#[test]
fn an_interface_that_is_removed_is_noticed_and_the_others_go_on() {
    in_namespace(|| {
        cable("x", 1)?;
        cable("y", 2)?;
        let classifier = start(Mode::Auto, false, &["xa", "ya"])??;
        ip("link del xa")?;
        within(NOTICED, "the interface is gone", || {
            Ok(codes(&classifier) == [Some("xdp.interface-gone"), None])
        })?;
        assert_eq!(xdp_of("ya")?.as_deref(), Some("xdp"));
        classifier.counts()?;
        Ok(())
    });
}

#[test]
fn an_interface_that_was_never_there_is_no_reason_to_stop() {
    in_namespace(|| {
        cable("x", 1)?;
        let config = bootstorm_xdp::XdpConfig {
            mode: Mode::Auto,
            replace: false,
            interfaces: vec![("nobody".to_owned(), 4711)],
            table: bootstorm_ebpf_shared::Table::default(),
        };
        let classifier = Classifier::start(config, drop)?;
        assert_eq!(codes(&classifier), [Some("xdp.interface-gone")]);
        assert_eq!(classifier.counts()?, [Default::default(); _]);
        Ok(())
    });
}

#[test]
fn a_killed_process_leaves_nothing_behind() {
    in_namespace(|| {
        cable("x", 1)?;
        let mut holder = Holder::start(HOLD, "native xa")?;
        assert_eq!(holder.lines, ["xa: classifier in native XDP", "ready"]);
        assert_eq!(xdp_of("xa")?.as_deref(), Some("xdp"));
        holder.kill()?;
        within(NOTICED, "the program is gone", || {
            Ok(xdp_of("xa")?.is_none())
        })
    });
}

/// Ours is refused, and then takes the place.
fn occupied_then_replaced() -> Result<()> {
    let error = start(Mode::Native, false, &["xa"])?.err();
    let error = error.context("it is taken")?;
    let XdpError::Occupied { occupant, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(occupant.name.as_deref(), Some(other_program::NAME));
    ensure!(xdp_of("xa")?.is_some(), "it was taken off unasked");
    let classifier = start(Mode::Native, true, &["xa"])??;
    assert_eq!(attached(&classifier), [Attached::Native]);
    Ok(())
}

/// Puts an empty folder in place of one, for the calling thread alone.
fn hide(folder: &str) -> Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("none"), folder, Some("tmpfs"), MsFlags::empty(), none)?;
    Ok(())
}

fn attach_by_netlink(mode: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("other.o");
    std::fs::write(&file, other_program::object()?)?;
    ip(&format!(
        "link set dev xa {mode} obj {} sec xdp",
        file.display()
    ))?;
    ensure!(xdp_of("xa")?.is_some(), "ip attached nothing");
    Ok(())
}

fn attached(classifier: &Classifier) -> Vec<Attached> {
    let attachments = classifier.attachments().into_iter();
    attachments.map(|attachment| attachment.attached).collect()
}

/// What is wrong with each interface.
fn codes(classifier: &Classifier) -> Vec<Option<&'static str>> {
    let attachments = classifier.attachments().into_iter();
    attachments
        .map(|attachment| attachment.attached.why().map(XdpError::code))
        .collect()
}
