-- What is due or going on is found without reading what is over, however much of that there is.

DROP INDEX IF EXISTS deliveries_pull;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (comment_id, id, repo_id, pull, not_before) WHERE state = 'new';
CREATE INDEX attempts_live ON attempts (lease_token) WHERE ended_at IS NULL;
