use sqlx::{AnyConnection, ConnectOptions as _, Connection as _, Executor as _};

use super::lab::{Lab, at, mac, on_each};
use crate::{Filter, Key, schema};

/// What a server before machines had numbers has written.
async fn written_before(lab: &Lab) {
    sqlx::any::install_default_drivers();
    let mut options = lab.location.options().unwrap();
    options = options.disable_statement_logging();
    let mut connection: AnyConnection = options.connect().await.unwrap();
    let steps = schema::migrator();
    steps.run_to(2, &mut connection).await.unwrap();
    connection
        .execute(
            "INSERT INTO machines \
             (mac, guid, arch, name, boot, phase, first_seen, last_seen, booted) VALUES \
             ('52:54:00:00:00:03', NULL, NULL, NULL, NULL, 'asked', 3000, 9000, NULL), \
             ('52:54:00:00:00:01', '11223344-5566-7788-99aa-bbccddeeff00', 7, 'lab', 'debian', \
              'booted', 1000, 8000, 2000), \
             ('52:54:00:00:00:02', NULL, 0, NULL, 'local', '', 2000, 2000, NULL)",
        )
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn machines_of_an_older_database_are_kept() {
    on_each(async |lab| {
        written_before(&lab).await;
        let store = lab.open().await;
        let all = store.machines(&Filter::default(), None, 10).await.unwrap();
        let macs: Vec<_> = all.iter().map(|m| m.macs.clone()).collect();
        assert_eq!(macs, [[mac(1)], [mac(2)], [mac(3)]]);
        let first = &all[0];
        let guid = "11223344-5566-7788-99aa-bbccddeeff00".parse().ok();
        assert_eq!(first.guid, guid);
        assert_eq!(first.name.as_deref(), Some("lab"));
        assert_eq!(first.boot.as_deref(), Some("debian"));
        assert_eq!(first.arch.map(|arch| arch.0), Some(7));
        assert_eq!(first.phase, "booted");
        assert_eq!((first.first_seen, first.last_seen), (at(1), at(8)));
        assert_eq!((first.admitted, first.booted), (Some(at(1)), Some(at(2))));
        let known: Vec<_> = all.iter().map(|m| m.is_known()).collect();
        assert_eq!(known, [true, true, false]);
        let next = store.change(&Key::Mac(mac(4)), &[]).await.unwrap();
        assert_eq!(next.id, 4);
    })
    .await;
}
