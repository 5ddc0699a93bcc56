INSERT INTO deliveries (id, repo_id, pull, comment_id, action, arrival, delivery, payload, received_at, state, note) VALUES
    (4, 11, 4, 505, 'created', 'webhook', '1b0d4c1e-7f0d-4d0e-9f43-3f3f0b0f8a13', '{"action":"created"}', 1795000180000, 'done', '"no_command"');
