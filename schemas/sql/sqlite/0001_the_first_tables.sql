-- Times are milliseconds since 1970-01-01T00:00:00Z; words are checked where a wrong one could be written.

CREATE TABLE inbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    source       TEXT   NOT NULL,
    event_id     TEXT   NOT NULL,
    event_type   TEXT   NOT NULL,
    occurred_at  INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    delivery_id  TEXT   NOT NULL,
    traceparent  TEXT,
    fact         TEXT   NOT NULL,
    subject      TEXT,
    body         BLOB  NOT NULL,
    state        TEXT   NOT NULL CHECK (state IN ('due', 'done', 'ignored', 'parked', 'discarded')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER NOT NULL,
    lease        TEXT,
    lease_until  INTEGER,
    why          TEXT,
    ended_at     INTEGER
);
-- The key of all de-duplication; event_id first, because people look events up by it alone.
CREATE UNIQUE INDEX inbox_event ON inbox (event_id, source);
CREATE INDEX inbox_due ON inbox (due_at, seq) WHERE state = 'due' AND lease IS NULL;
CREATE INDEX inbox_subject ON inbox (subject, seq) WHERE state = 'due' AND lease IS NULL;
CREATE INDEX inbox_leased ON inbox (lease_until) WHERE lease IS NOT NULL;
-- One event in flight per subject, whatever the claim does.
CREATE UNIQUE INDEX inbox_in_flight ON inbox (subject) WHERE lease IS NOT NULL;

CREATE TABLE plans (
    plan_key         TEXT PRIMARY KEY,
    user_identity_id TEXT   NOT NULL,
    spec             TEXT   NOT NULL,
    put_at           INTEGER NOT NULL,
    deleted_at       INTEGER
);
CREATE INDEX plans_person ON plans (user_identity_id);

CREATE TABLE issuances (
    plan_key                 TEXT PRIMARY KEY REFERENCES plans (plan_key),
    user_identity_id         TEXT   NOT NULL,
    status                   TEXT   NOT NULL CHECK (status IN (
        'planned', 'creating', 'created', 'issued', 'unknown', 'failed', 'revoked', 'ended')),
    acs_credential_id        TEXT,
    acs_user_id              TEXT,
    enrollment_automation_id TEXT,
    attempts                 INTEGER NOT NULL DEFAULT 0,
    overdue                  INTEGER NOT NULL DEFAULT 0,
    error                    TEXT,
    intent_at                INTEGER,
    intent_settles_at        INTEGER,
    version                  INTEGER NOT NULL DEFAULT 0,
    changed_at               INTEGER NOT NULL
);
-- A credential belongs to one plan: adopting another plan's is refused here too.
CREATE UNIQUE INDEX issuances_credential ON issuances (acs_credential_id) WHERE acs_credential_id IS NOT NULL;
CREATE INDEX issuances_status ON issuances (status, plan_key);
CREATE INDEX issuances_person ON issuances (user_identity_id, plan_key);
CREATE INDEX issuances_acs_user ON issuances (acs_user_id);
CREATE INDEX issuances_enrollment ON issuances (enrollment_automation_id) WHERE enrollment_automation_id IS NOT NULL;

CREATE TABLE phones (
    device_id        TEXT PRIMARY KEY,
    -- Empty while only its deactivation is known, which does not say whose it was.
    user_identity_id TEXT   NOT NULL,
    device_type      TEXT,
    is_active        INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL
);
CREATE INDEX phones_person ON phones (user_identity_id);

CREATE TABLE phone_keys (
    plan_key          TEXT   NOT NULL REFERENCES plans (plan_key),
    device_id         TEXT   NOT NULL,
    status            TEXT   NOT NULL CHECK (status IN ('waiting', 'issued', 'revoked')),
    acs_credential_id TEXT,
    issued_at         INTEGER,
    changed_at        INTEGER NOT NULL,
    PRIMARY KEY (plan_key, device_id)
);
CREATE INDEX phone_keys_device ON phone_keys (device_id);
CREATE INDEX phone_keys_credential ON phone_keys (acs_credential_id) WHERE acs_credential_id IS NOT NULL;

CREATE TABLE parked (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT   NOT NULL,
    delivery_id TEXT   NOT NULL,
    -- The event, where the delivery could be read; its body is there.
    inbox_seq   INTEGER REFERENCES inbox (seq),
    why         TEXT   NOT NULL,
    received_at INTEGER NOT NULL,
    headers     TEXT   NOT NULL,
    body        BLOB,
    state       TEXT   NOT NULL CHECK (state IN ('parked', 'released', 'discarded')),
    settled_at  INTEGER
);
CREATE INDEX parked_open ON parked (id) WHERE state = 'parked';
CREATE UNIQUE INDEX parked_delivery ON parked (source, delivery_id) WHERE inbox_seq IS NULL;
CREATE INDEX parked_event ON parked (inbox_seq) WHERE inbox_seq IS NOT NULL;

CREATE TABLE ledger (
    seq               INTEGER PRIMARY KEY,
    at                INTEGER NOT NULL,
    kind              TEXT   NOT NULL,
    source            TEXT,
    event_type        TEXT,
    event_id          TEXT,
    plan_key          TEXT,
    user_identity_id  TEXT,
    device_id         TEXT,
    acs_credential_id TEXT,
    why               TEXT
);
CREATE INDEX ledger_plan ON ledger (plan_key, seq) WHERE plan_key IS NOT NULL;

-- The ledger's last number. Writers take their numbers by updating this row, last in their transaction: so numbers have
-- no gaps and become visible in their order, and whoever follows the ledger by number misses nothing.
CREATE TABLE ledger_head (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
);
INSERT INTO ledger_head (id, seq) VALUES (1, 0);
