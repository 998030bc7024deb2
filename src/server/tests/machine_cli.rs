//! `bootstorm machine` and a server that runs: the whole program twice, real sockets.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;

use program::Lab;

#[test]
fn machines_are_imported_listed_ordered_and_forgotten() {
    let server = Lab::new(&["web"], "").serve();
    let said = |words: &[&str]| server.told(&[&["machine"], words].concat());
    // The exit code and what is complained of.
    let refused = |words: &[&str]| {
        let mut command = server.command(&[&["machine"], words].concat());
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), error)
    };
    let text = "mac,guid,name,serial,asset,boot,once,tags,value.role\n\
                52:54:00:99:00:01,,lab-1,\"a,b\",,local,,desk new,x\n\
                52:54:00:99:00:02,,lab-2,,,,,desk,\n";
    server.lab.write("machines.csv", text);
    let list = server.lab.path("machines.csv");
    let list = list.to_str().unwrap();
    assert_eq!(said(&["import", list]), "2 machines\n");
    assert_eq!(said(&["list", "-o", "csv"]), text);
    let table = said(&["list", "--tag", "new"]);
    assert!(
        table.contains("lab-1") && !table.contains("lab-2"),
        "{table}"
    );

    said(&["reimage", "lab-2", "--boot", "menu"]);
    let once = said(&["list", "--state", "once", "-o", "json"]);
    assert!(once.contains("\"boot\": \"menu\""), "{once}");
    said(&["reimage", "lab-2", "--cancel"]);
    assert_eq!(said(&["list", "--state", "once", "-o", "json"]), "[]\n");

    assert!(said(&["hold", "52-54-00-99-00-01"]).contains("(held)"));
    assert!(!said(&["release", "lab-1"]).contains("(held)"));
    assert!(said(&["tag", "lab-1", "a b", "c"]).contains("a b,c,desk"));
    assert!(said(&["set", "lab-1", "--boot=", "--name", "x"]).contains(" x "));
    said(&["remove", "lab-2"]);
    let (code, error) = refused(&["show", "lab-2"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("[web."), "{error}");

    server
        .lab
        .write("machines.csv", "mac,boot\nnonsense,local\n");
    let (code, error) = refused(&["import", list]);
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("line 2") && error.contains("web.bad-list"),
        "{error}"
    );
    let (code, error) = refused(&["add", "--name", "nobody"]);
    assert_eq!(code, 2, "{error}");
}
