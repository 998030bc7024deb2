-- The five dates of a boot: its script was handed out (began), it began to load what that names, it
-- had all of it, it said that it was done (ended), and its last error (failed, code, reason). task
-- is what must not run twice by accident; once says that it was an order.
ALTER TABLE boots DROP COLUMN state;
ALTER TABLE boots ADD COLUMN guid TEXT;
ALTER TABLE boots ADD COLUMN decider TEXT;
ALTER TABLE boots ADD COLUMN task TEXT;
ALTER TABLE boots ADD COLUMN once BIGINT NOT NULL DEFAULT 0;
ALTER TABLE boots ADD COLUMN loading BIGINT;
ALTER TABLE boots ADD COLUMN loaded BIGINT;
ALTER TABLE boots ADD COLUMN failed BIGINT;
ALTER TABLE boots ADD COLUMN code TEXT;

-- done: the last task that the machine reported done; reset: when people last said anew what it
-- boots, which takes that back.
ALTER TABLE machines ADD COLUMN done TEXT;
ALTER TABLE machines ADD COLUMN reset BIGINT;

-- Of which boot.
ALTER TABLE events ADD COLUMN boot TEXT;
