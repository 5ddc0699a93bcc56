INSERT INTO runs (number, repo_id, repo_name, recipe, suite, pull, commit_id, person_id, person_login, cause, need_memory,
    need_addresses, state, outcome, verdict, level, attempt, retries, lease_token, lease_expires, holder, live_run,
    not_before, queued_at, started_at, finished_at, deadline_at, change, published) VALUES
    (1, 11, 'coop-cloud/gitea', 'gitea', 'gitea', 4, '1111111111111111111111111111111111111111', 7, 'maintainer', 'comment',
     1073741824, 12, 'finished', 'judged', 'GREEN', 5, 2, 1, NULL, NULL, NULL, NULL,
     1795000000500, 1795000000500, 1795000100000, 1795000600000, 1795003700000, 6, 6),
    (2, 11, 'coop-cloud/gitea', 'gitea', 'gitea', 5, '2222222222222222222222222222222222222222', 7, 'maintainer', 'comment',
     1073741824, 12, 'running', NULL, NULL, NULL, 1, 0, 'token-2', 1795000900000, 'embedded:host:1', 'r9q7kk500001',
     1795000700000, 1795000700000, 1795000800000, NULL, 1795004400000, 2, 1),
    (3, 12, 'coop-cloud/n8n', 'n8n', 'n8n', NULL, '3333333333333333333333333333333333333333', 9, 'robot', 'robot',
     536870912, 6, 'queued', NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL,
     1795000700000, 1795000700000, NULL, NULL, NULL, 1, 0);
INSERT INTO attempts (run_number, attempt, run_id, lease_token, holder, repo_id, person_id, started_at, ended_at, ending, why) VALUES
    (1, 1, 'r9q7kk100001', 'token-1a', 'embedded:host:1', 11, 7, 1795000001000, 1795000050000, 'retried', 'registry-unreachable'),
    (1, 2, 'r9q7kk200001', 'token-1b', 'embedded:host:1', 11, 7, 1795000100000, 1795000600000, 'judged', ''),
    (2, 1, 'r9q7kk500001', 'token-2', 'embedded:host:1', 11, 7, 1795000800000, NULL, NULL, '');
INSERT INTO stage_rows (run_number, attempt, stage, status, result, at) VALUES
    (1, 2, 'install', 'pass', '{"stage":"install","status":"pass","lane":"fresh","steps":[],"tests":[],"flaky":false}', 1795000200000);
