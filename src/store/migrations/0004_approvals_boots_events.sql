-- Machines that ask to be let in.
CREATE TABLE approvals (
    code    TEXT PRIMARY KEY NOT NULL,
    mac     TEXT,
    guid    TEXT,
    facts   TEXT NOT NULL,
    state   TEXT NOT NULL,
    decider TEXT,
    created BIGINT NOT NULL,
    decided BIGINT,
    expires BIGINT NOT NULL
);

CREATE INDEX approvals_mac ON approvals (mac);
CREATE INDEX approvals_guid ON approvals (guid);
CREATE INDEX approvals_state ON approvals (state, created);

-- Boots, in the order of seq; id is given by whoever began it.
CREATE TABLE boots (
    seq     BIGINT PRIMARY KEY NOT NULL,
    id      TEXT NOT NULL UNIQUE,
    machine BIGINT,
    mac     TEXT,
    entry   TEXT NOT NULL,
    state   TEXT NOT NULL,
    reason  TEXT,
    bytes   BIGINT,
    began   BIGINT NOT NULL,
    ended   BIGINT
);

CREATE INDEX boots_machine ON boots (machine, seq);
CREATE INDEX boots_began ON boots (began);

-- What happened; id is given by whoever saw it, so that what is delivered twice is kept once.
CREATE TABLE events (
    seq     BIGINT PRIMARY KEY NOT NULL,
    id      TEXT NOT NULL UNIQUE,
    at      BIGINT NOT NULL,
    mac     TEXT,
    machine BIGINT,
    kind    TEXT NOT NULL,
    code    TEXT,
    text    TEXT NOT NULL
);

CREATE INDEX events_machine ON events (machine, seq);
CREATE INDEX events_at ON events (at);

-- What servers tell each other: kind is machine, approval or all; origin is who made the change.
CREATE TABLE changes (
    seq     BIGINT PRIMARY KEY NOT NULL,
    origin  TEXT NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT
);

INSERT INTO numbers (kind, last) VALUES ('boot', 0), ('event', 0), ('change', 0);
