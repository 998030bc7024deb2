//! The tables, step by step.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

/// Brings any older database up to date.
///
/// The steps are listed here rather than collected by sqlx's macro, which would have cargo build
/// both database drivers, SQLite's C among them, once more for itself.
pub(crate) fn migrator() -> Migrator {
    let steps = STEPS.iter().zip(1..).map(|(&(name, sql), number)| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(
            number,
            Cow::Borrowed(name),
            MigrationType::Simple,
            sql,
            false,
        )
    });
    Migrator::with_migrations(steps.collect())
}

/// From the first. Databases hold the hash of each step that made them: none ever changes.
const STEPS: [(&str, &str); 6] = [
    ("machines", include_str!("../migrations/0001_machines.sql")),
    ("booted", include_str!("../migrations/0002_booted.sql")),
    (
        "machines by number",
        include_str!("../migrations/0003_machines_by_number.sql"),
    ),
    (
        "approvals boots events",
        include_str!("../migrations/0004_approvals_boots_events.sql"),
    ),
    (
        "boot dates",
        include_str!("../migrations/0005_boot_dates.sql"),
    ),
    ("denied", include_str!("../migrations/0006_denied.sql")),
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{STEPS, migrator};

    /// What databases out there hold of the steps that made them.
    const RELEASED: [&str; 6] = [
        "f17e5e5cadb16aba7cf43a4528ce746a956f18b1f2c41e4822b52c16c01513c77888004f27d066cc30641ac5b0070514",
        "c8368a13210f23fee33877671d0cace902a4dca23dac48f7fe08ade85cfdebb4a4c07e5b95db0c3e409e902b287eda27",
        "8b8f700f76d2f3d8a1717aaca310d82dc8ff845d6aaf7c17a74ef390f915b5e5ed24b91397eaf6bc9e5b446686190a0b",
        "0d9d8211b5195faf6f791fa86a5244f2f717a3c2e6dc673773c638becb6a4d9748f8e1ec0ac226b2f363a681a52918dc",
        "b18e15a39fa5a2100c5341748ac05f6522579f072fc42f8e22bb75b47ec1c0e6c2c3bab08c3e1656f2f71e2b05bc10b2",
        "d75292e5563212be5b3824352297f211b38feb25cd27e2c267dc20f29dce381064b6fa79b40276d57583a6695d0191de",
    ];

    #[test]
    fn a_step_that_databases_have_taken_stays_as_it_is() {
        let migrator = migrator();
        let now = migrator.iter().map(|step| hex(&step.checksum));
        assert_eq!(now.collect::<Vec<_>>(), RELEASED);
    }

    #[test]
    fn every_file_is_a_step_by_its_number_and_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let files = fs::read_dir(folder).unwrap();
        let mut files: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let steps = STEPS.iter().zip(1..);
        let named = steps.map(|((name, _), number)| {
            let name = name.replace(' ', "_");
            format!("{number:04}_{name}.sql")
        });
        assert_eq!(files, named.collect::<Vec<_>>());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
