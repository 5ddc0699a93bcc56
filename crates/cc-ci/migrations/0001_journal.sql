-- What came from the forge and what was decided about it. Times are milliseconds since the epoch.

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY,
    repo_id     BIGINT NOT NULL,
    comment_id  BIGINT NOT NULL,
    action      TEXT   NOT NULL,
    arrival     TEXT   NOT NULL,
    delivery    TEXT   NOT NULL,
    payload     TEXT   NOT NULL,
    received_at BIGINT NOT NULL,
    state       TEXT   NOT NULL DEFAULT 'new',
    not_before  BIGINT NOT NULL DEFAULT 0,
    note        TEXT   NOT NULL DEFAULT '',
    UNIQUE (repo_id, comment_id, action)
);
CREATE INDEX deliveries_open ON deliveries (not_before, id) WHERE state = 'new';

CREATE TABLE cursors (
    name       TEXT   PRIMARY KEY,
    value      TEXT   NOT NULL,
    updated_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE triggers (
    id           INTEGER PRIMARY KEY,
    kind         TEXT   NOT NULL,
    repo_id      BIGINT NOT NULL,
    pull         BIGINT NOT NULL,
    comment_id   BIGINT,
    person_id    BIGINT NOT NULL,
    person_login TEXT   NOT NULL,
    decision     TEXT   NOT NULL,
    why          TEXT   NOT NULL DEFAULT '',
    run_number   BIGINT,
    verdict      TEXT,
    outcome      TEXT,
    created_at   BIGINT NOT NULL,
    ended_at     BIGINT
);
CREATE UNIQUE INDEX triggers_comment ON triggers (repo_id, comment_id) WHERE comment_id IS NOT NULL;
CREATE INDEX triggers_run ON triggers (run_number);
CREATE INDEX triggers_pull ON triggers (repo_id, pull, id);

CREATE TABLE hints (
    id        INTEGER PRIMARY KEY,
    repo_id   BIGINT NOT NULL,
    pull      BIGINT NOT NULL,
    person_id BIGINT NOT NULL,
    kind      TEXT   NOT NULL,
    at        BIGINT NOT NULL
);
CREATE INDEX hints_recent ON hints (repo_id, pull, at);
