-- What sources call the people of plans.
CREATE TABLE plan_aliases (
    source   TEXT NOT NULL,
    alias    TEXT NOT NULL,
    plan_key TEXT NOT NULL REFERENCES plans (plan_key) ON DELETE CASCADE,
    PRIMARY KEY (source, alias, plan_key)
);
CREATE INDEX plan_aliases_plan ON plan_aliases (plan_key);

-- Events that nobody had a use for yet: found again by whom they concern.
CREATE INDEX inbox_ignored ON inbox (subject) WHERE state = 'ignored' AND subject IS NOT NULL;
