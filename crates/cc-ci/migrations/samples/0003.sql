INSERT INTO outbox (target, repo_id, repo_name, wanted, run_number, attempt, seq, state, tries, next_try_at, wanted_at, settled_at, forge_id, error) VALUES
    ('status 11 1111111111111111111111111111111111111111 cc-ci/testme', 11, 'coop-cloud/gitea',
     '{"kind":"status","commit":"1111111111111111111111111111111111111111","context":"cc-ci/testme","state":"success","description":"GREEN, level 5","target_url":"https://ci.example.org/runs/1"}',
     1, 2, 6, 'settled', 0, 1795000600000, 1795000600000, 1795000601000, NULL, ''),
    ('comment 11 5 <!-- cc-ci:pull:11:5 -->', 11, 'coop-cloud/gitea',
     '{"kind":"comment","pull":5,"marker":"<!-- cc-ci:pull:11:5 -->","body":"<!-- cc-ci:pull:11:5 -->\nrunning"}',
     2, 1, 2, 'due', 1, 1795000800000, 1795000800000, NULL, 900, 'unreachable');
INSERT INTO events (id, run_number, attempt, kind, body, at) VALUES (1, 1, 2, 'stage', '{"stage":"install"}', 1795000200000);
INSERT INTO log_index (run_number, attempt, file, line, byte) VALUES (1, 2, 'stages/install.log', 500, 40210);
