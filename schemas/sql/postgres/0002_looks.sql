-- When the sweep has an issuance looked at again, whatever events come; NULL once its life is over.
ALTER TABLE issuances ADD COLUMN look_at BIGINT;
UPDATE issuances SET look_at = changed_at WHERE status NOT IN ('revoked', 'ended');
CREATE INDEX issuances_look ON issuances (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX issuances_overdue ON issuances (plan_key) WHERE overdue = 1;
-- Looks that nobody has begun with: the sweep keeps them few, because webhooks stand in the same line.
CREATE INDEX inbox_looks ON inbox (seq) WHERE event_type = 'issuance.due' AND attempts = 0;
