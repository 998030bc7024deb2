-- Machines get numbers, so that one can have several addresses or none. What both SQLite and
-- PostgreSQL know is used: numbers and times are BIGINT, everything else is TEXT.

-- The last number of each kind that was given away; none is ever given twice.
CREATE TABLE numbers (
    kind TEXT PRIMARY KEY NOT NULL,
    last BIGINT NOT NULL
);

ALTER TABLE machines RENAME TO machines_by_mac;

DROP INDEX machines_last_seen;

-- admitted: when people first said anything of it. once: what it boots next time, once_at names
-- that order, once_taken is the last one that was carried out.
CREATE TABLE machines (
    id           BIGINT PRIMARY KEY NOT NULL,
    guid         TEXT,
    name         TEXT,
    serial       TEXT,
    asset        TEXT,
    manufacturer TEXT,
    product      TEXT,
    arch         BIGINT,
    boot         TEXT,
    once         TEXT,
    once_by      TEXT,
    once_at      BIGINT,
    once_taken   TEXT,
    held         BIGINT,
    admitted     BIGINT,
    phase        TEXT NOT NULL,
    first_seen   BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL,
    booted       BIGINT
);

CREATE TABLE machine_macs (
    mac     TEXT PRIMARY KEY NOT NULL,
    machine BIGINT NOT NULL REFERENCES machines (id) ON DELETE CASCADE
);

CREATE TABLE machine_tags (
    machine BIGINT NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    tag     TEXT NOT NULL,
    PRIMARY KEY (machine, tag)
);

CREATE TABLE machine_values (
    machine BIGINT NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (machine, name)
);

INSERT INTO machines (id, guid, name, arch, boot, admitted, phase, first_seen, last_seen, booted)
SELECT row_number() OVER (ORDER BY first_seen, mac), guid, name, arch, boot,
       CASE WHEN name IS NOT NULL OR boot IS NOT NULL THEN first_seen END,
       phase, first_seen, last_seen, booted
FROM machines_by_mac;

INSERT INTO machine_macs (mac, machine)
SELECT mac, row_number() OVER (ORDER BY first_seen, mac) FROM machines_by_mac;

INSERT INTO numbers (kind, last) SELECT 'machine', count(*) FROM machines;

DROP TABLE machines_by_mac;

CREATE INDEX machines_guid ON machines (guid);
CREATE INDEX machines_name ON machines (name);
CREATE INDEX machines_last_seen ON machines (last_seen);
CREATE INDEX machine_macs_machine ON machine_macs (machine);
