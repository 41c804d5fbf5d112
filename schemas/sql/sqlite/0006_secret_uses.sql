-- How much each secret of each source has been used: how one sees that a rotation is over.
CREATE TABLE secret_uses (
    source        TEXT NOT NULL,
    secret        TEXT NOT NULL,
    events        INTEGER NOT NULL,
    first_used_at INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL,
    -- How old the last signature was when it came; negative: how early.
    skew_ms       INTEGER,
    PRIMARY KEY (source, secret)
);
