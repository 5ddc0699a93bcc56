-- Comments of one pull request are decided in their order, and each pull request waits with a run of its own.

ALTER TABLE deliveries ADD COLUMN pull BIGINT NOT NULL DEFAULT 0;
CREATE INDEX deliveries_pull ON deliveries (repo_id, pull, comment_id) WHERE state = 'new';

DROP INDEX runs_one_queued;
CREATE UNIQUE INDEX runs_one_queued ON runs (repo_id, commit_id, suite, COALESCE(pull, 0)) WHERE state = 'queued';
