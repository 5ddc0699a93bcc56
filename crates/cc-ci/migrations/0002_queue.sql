-- Runs, their attempts, and what each attempt found.

CREATE TABLE runs (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    repo_id        BIGINT NOT NULL,
    repo_name      TEXT   NOT NULL,
    recipe         TEXT   NOT NULL,
    suite          TEXT   NOT NULL,
    pull           BIGINT,
    commit_id      TEXT   NOT NULL,
    person_id      BIGINT NOT NULL,
    person_login   TEXT   NOT NULL,
    cause          TEXT   NOT NULL,
    priority       BIGINT NOT NULL DEFAULT 0,
    need_memory    BIGINT NOT NULL,
    need_addresses BIGINT NOT NULL,
    state          TEXT   NOT NULL DEFAULT 'queued',
    outcome        TEXT,
    verdict        TEXT,
    level          BIGINT,
    why            TEXT   NOT NULL DEFAULT '',
    flaky          BIGINT NOT NULL DEFAULT 0,
    attempt        BIGINT NOT NULL DEFAULT 0,
    retries        BIGINT NOT NULL DEFAULT 0,
    crashes        BIGINT NOT NULL DEFAULT 0,
    lease_token    TEXT,
    lease_expires  BIGINT,
    holder         TEXT,
    live_run       TEXT,
    progress       TEXT   NOT NULL DEFAULT '',
    cancel_at      BIGINT,
    cancel_by      TEXT,
    not_before     BIGINT NOT NULL,
    queued_at      BIGINT NOT NULL,
    started_at     BIGINT,
    finished_at    BIGINT,
    deadline_at    BIGINT,
    change         BIGINT NOT NULL DEFAULT 1,
    published      BIGINT NOT NULL DEFAULT 0
);
-- One queued and one running run per commit and suite; the second of the two waits for the first.
CREATE UNIQUE INDEX runs_one_queued  ON runs (repo_id, commit_id, suite) WHERE state = 'queued';
CREATE UNIQUE INDEX runs_one_running ON runs (repo_id, commit_id, suite) WHERE state = 'running';
CREATE INDEX runs_open    ON runs (state, number) WHERE state <> 'finished';
CREATE INDEX runs_recipe  ON runs (recipe, number);
CREATE INDEX runs_pull    ON runs (repo_id, pull, number) WHERE pull IS NOT NULL;
CREATE INDEX runs_target  ON runs (repo_id, number) WHERE pull IS NULL;
CREATE INDEX runs_dirty   ON runs (number) WHERE published < change;

CREATE TABLE attempts (
    run_number   BIGINT NOT NULL REFERENCES runs (number),
    attempt      BIGINT NOT NULL,
    run_id       TEXT   NOT NULL UNIQUE,
    lease_token  TEXT   NOT NULL,
    holder       TEXT   NOT NULL,
    repo_id      BIGINT NOT NULL,
    person_id    BIGINT NOT NULL,
    started_at   BIGINT NOT NULL,
    ended_at     BIGINT,
    ending       TEXT,
    why          TEXT   NOT NULL DEFAULT '',
    PRIMARY KEY (run_number, attempt)
);
CREATE INDEX attempts_repo   ON attempts (repo_id, started_at);
CREATE INDEX attempts_person ON attempts (person_id, started_at);

CREATE TABLE stage_rows (
    run_number BIGINT NOT NULL REFERENCES runs (number),
    attempt    BIGINT NOT NULL,
    stage      TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    result     TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (run_number, attempt, stage)
);

CREATE TABLE results (
    run_number  BIGINT PRIMARY KEY REFERENCES runs (number),
    attempt     BIGINT NOT NULL,
    run         TEXT   NOT NULL,
    duration_ms BIGINT NOT NULL,
    at          BIGINT NOT NULL
);
