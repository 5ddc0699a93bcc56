INSERT INTO events (id, run_number, attempt, kind, body, at) VALUES (2, 2, 1, 'stage', '{"stage":"custom"}', 1795000400000);
