INSERT INTO deliveries (id, repo_id, comment_id, action, arrival, delivery, payload, received_at, state, note) VALUES
    (1, 11, 501, 'created', 'webhook', '0c8f7f5e-7f0d-4d0e-9f43-3f3f0b0f8a11', '{"action":"created"}', 1795000000000, 'done', 'run 1'),
    (2, 11, 502, 'edited', 'webhook', '5d7a9f3c-7f0d-4d0e-9f43-3f3f0b0f8a12', '{"action":"edited"}', 1795000060000, 'done', 'not created'),
    (3, 12, 503, 'created', 'poll', '', '{"id":503}', 1795000120000, 'new', '');
INSERT INTO cursors (name, value, updated_at) VALUES ('comments 11', '2026-11-18T10:00:00Z', 1795000000000);
INSERT INTO triggers (id, kind, repo_id, pull, comment_id, person_id, person_login, decision, why, run_number, verdict, outcome, created_at, ended_at) VALUES
    (1, 'comment', 11, 4, 501, 7, 'maintainer', 'run', '', 1, 'GREEN', 'judged', 1795000000500, 1795000600000),
    (2, 'comment', 11, 4, 504, 8, 'stranger', 'refused', 'no_write_access', NULL, NULL, NULL, 1795000010000, NULL);
INSERT INTO hints (id, repo_id, pull, person_id, kind, at) VALUES (1, 11, 4, 8, 'hint', 1795000010000);
