-- What the forge shall show, and what viewers of a live run have been told.

CREATE TABLE outbox (
    target      TEXT   PRIMARY KEY,
    repo_id     BIGINT NOT NULL,
    repo_name   TEXT   NOT NULL,
    wanted      TEXT   NOT NULL,
    run_number  BIGINT NOT NULL,
    attempt     BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    state       TEXT   NOT NULL DEFAULT 'due',
    tries       BIGINT NOT NULL DEFAULT 0,
    next_try_at BIGINT NOT NULL,
    wanted_at   BIGINT NOT NULL,
    settled_at  BIGINT,
    forge_id    BIGINT,
    error       TEXT   NOT NULL DEFAULT ''
);
CREATE INDEX outbox_due ON outbox (next_try_at) WHERE state = 'due';

CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    run_number BIGINT NOT NULL REFERENCES runs (number),
    attempt    BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX events_run ON events (run_number, id);

-- Logs are files; this says at which byte a line begins, for every few hundred lines.
CREATE TABLE log_index (
    run_number BIGINT NOT NULL REFERENCES runs (number),
    attempt    BIGINT NOT NULL,
    file       TEXT   NOT NULL,
    line       BIGINT NOT NULL,
    byte       BIGINT NOT NULL,
    PRIMARY KEY (run_number, attempt, file, line)
) WITHOUT ROWID;
