-- When something first arrived at a machine; NULL for those that only ever asked. A packet that asks
-- can carry any address, what is fetched goes to where the machine is.
ALTER TABLE machines ADD COLUMN booted BIGINT;

UPDATE machines SET booted = last_seen
WHERE phase IN ('nbp', 'script', 'queued', 'loading', 'booted', 'finished');
