-- How far a list at the provider has been read, and by whom it is being read.
CREATE TABLE watermarks (
    name        TEXT PRIMARY KEY,
    at          BIGINT NOT NULL,
    lease       TEXT,
    lease_until BIGINT
);

-- What retention looks for.
CREATE INDEX inbox_ended ON inbox (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX parked_settled ON parked (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX phones_gone ON phones (changed_at) WHERE is_active = 0;
