-- How many issuances and phone keys stand where, so that nobody counts a million rows to say so. Each change adds lines
-- (+1 here, -1 there), as on PostgreSQL, where a number that all changes meet at would make them wait for each other. The
-- sweep sums the lines up now and then.
CREATE TABLE tallies (
    id     INTEGER PRIMARY KEY,
    what   TEXT    NOT NULL CHECK (what IN ('issuance', 'phone_key')),
    status TEXT    NOT NULL,
    times  INTEGER NOT NULL
);
INSERT INTO tallies (what, status, times) SELECT 'issuance', status, COUNT(*) FROM issuances GROUP BY status;
INSERT INTO tallies (what, status, times) SELECT 'phone_key', status, COUNT(*) FROM phone_keys GROUP BY status;

CREATE TRIGGER issuances_begin AFTER INSERT ON issuances BEGIN
    INSERT INTO tallies (what, status, times) VALUES ('issuance', NEW.status, 1);
END;
CREATE TRIGGER issuances_move AFTER UPDATE OF status ON issuances WHEN OLD.status <> NEW.status BEGIN
    INSERT INTO tallies (what, status, times) VALUES ('issuance', OLD.status, -1), ('issuance', NEW.status, 1);
END;
CREATE TRIGGER issuances_go AFTER DELETE ON issuances BEGIN
    INSERT INTO tallies (what, status, times) VALUES ('issuance', OLD.status, -1);
END;

CREATE TRIGGER phone_keys_begin AFTER INSERT ON phone_keys BEGIN
    INSERT INTO tallies (what, status, times) VALUES ('phone_key', NEW.status, 1);
END;
CREATE TRIGGER phone_keys_move AFTER UPDATE OF status ON phone_keys WHEN OLD.status <> NEW.status BEGIN
    INSERT INTO tallies (what, status, times) VALUES ('phone_key', OLD.status, -1), ('phone_key', NEW.status, 1);
END;
CREATE TRIGGER phone_keys_go AFTER DELETE ON phone_keys BEGIN
    INSERT INTO tallies (what, status, times) VALUES ('phone_key', OLD.status, -1);
END;

-- The leases that are out are few, and are read all at once: by the index that keeps one for each subject.
DROP INDEX inbox_leased;
