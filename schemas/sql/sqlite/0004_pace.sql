-- Set while an event waits for the provider, and not for a reason of its own: it is due again as soon as the provider
-- is known to work.
ALTER TABLE inbox ADD COLUMN awaits_provider INTEGER NOT NULL DEFAULT 0;
CREATE INDEX inbox_awaiting ON inbox (due_at) WHERE state = 'due' AND awaits_provider = 1;

-- The rate limit of all processes together, as one number: microseconds since 1970 up to which calls to the provider
-- are spoken for (the "theoretical arrival time" of GCRA). A slot that is reserved and not used is merely lost.
CREATE TABLE provider_calls (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    spoken_for_us INTEGER NOT NULL
);
INSERT INTO provider_calls (id, spoken_for_us) VALUES (1, 0);
