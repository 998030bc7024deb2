-- Every machine that was ever seen or named. Times are milliseconds since 1970 in UTC.
CREATE TABLE machines (
    mac        TEXT PRIMARY KEY NOT NULL,
    guid       TEXT,
    arch       INTEGER,
    name       TEXT,
    boot       TEXT,
    phase      TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL
);

CREATE INDEX machines_last_seen ON machines (last_seen);
