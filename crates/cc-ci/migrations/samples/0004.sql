INSERT INTO log_index (run_number, attempt, file, line, byte) VALUES (1, 2, 'stages/custom.log', 500, 39980);
