use super::*;

fn faults(text: &str) -> Vec<String> {
    let faults = read(text).unwrap_err().to_string();
    faults.lines().map(str::to_owned).collect()
}

#[test]
fn a_list_of_a_spreadsheet_is_read() {
    let text = "\u{feff}Name;MAC;Tags;Boot;Value.Role;uuid\r\n\
                lab-1;52-54-00-00-00-01 525400000002;lab,win;winpe;\"desk; left\";\r\n\
                \"lab \"\"2\"\"\";;;;;11223344-5566-7788-99aa-bbccddeeff00\r\n";
    let rows = read(text).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].line, 2);
    assert_eq!(rows[0].name.as_deref(), Some("lab-1"));
    let macs: Vec<_> = rows[0].macs.iter().map(ToString::to_string).collect();
    assert_eq!(macs, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
    assert_eq!(rows[0].tags, ["lab", "win"]);
    assert_eq!(rows[0].boot.as_deref(), Some("winpe"));
    assert_eq!(rows[0].values["Role"], "desk; left");
    assert_eq!(rows[1].name.as_deref(), Some("lab \"2\""));
    assert_eq!((rows[1].boot.as_deref(), rows[1].tags.len()), (None, 0));
    assert!(rows[1].guid.is_some());
}

#[test]
fn faults_name_their_lines() {
    let text = "mac,guid,name,serial\n\
                zz,,a,\n\
                52:54:00:00:00:01,nine,b,\n\
                52:54:00:00:00:01,,B,\"x\ny\"\n\
                ,,c,\n\
                52:54:00:00:00:02,,d\n\
                ,ffffffff-ffff-ffff-ffff-ffffffffffff,e,\n";
    let faults = faults(text);
    let wanted = [
        "line 2: mac: `zz`",
        "line 3: guid: `nine`",
        "line 4: `x\\ny` holds a control character",
        "line 4: 52:54:00:00:00:01 stands in line 3 already",
        "line 4: the name `B` stands in line 3 already",
        "line 6: the machine has neither a MAC nor a GUID",
        "line 7: 3 fields where the header has 4",
        "line 8: guid: ffffffff-ffff-ffff-ffff-ffffffffffff is what firmware",
    ];
    assert_eq!(faults.len(), wanted.len(), "{faults:#?}");
    for (fault, wanted) in faults.iter().zip(wanted) {
        assert!(fault.starts_with(wanted), "{fault} / {wanted}");
    }
}

#[test]
fn a_header_that_is_none_is_refused() {
    for (header, wanted) in [
        ("mac,colour", "line 1: `colour` is no column; there are mac"),
        ("mac,MAC", "line 1: column `MAC` stands twice"),
        ("name,boot", "line 1: a list needs a column `mac` or `guid`"),
        ("\n\n", "line 4: `a` is no column"),
        ("mac,value.", "line 1: `value.` is no column"),
    ] {
        let faults = faults(&format!("{header}\na,b\n"));
        assert!(faults[0].starts_with(wanted), "{faults:?}");
    }
}

#[test]
fn a_list_is_bounded_and_so_are_its_faults() {
    let mut text = "mac\n".to_owned();
    for number in 0..=ROWS_MAX as u64 {
        text.push_str(&format!("02{number:010x}\n"));
    }
    let told = faults(&text);
    assert_eq!(
        told,
        [format!(
            "line {}: a list may hold 100000 machines",
            ROWS_MAX + 2
        )]
    );
    let (fits, _) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(read(fits).unwrap().len(), ROWS_MAX);
    let told = faults(&format!("mac\n{}", "x\n".repeat(1000)));
    assert_eq!(told.len(), FAULTS_MAX + 1);
    assert_eq!(told[FAULTS_MAX], "and 980 more");
}
