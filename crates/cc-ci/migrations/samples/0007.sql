INSERT INTO events (id, run_number, attempt, kind, body, at) VALUES (3, 2, 1, 'teardown', 'removing the data lane', 1795000500000);
