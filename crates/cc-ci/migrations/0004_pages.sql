-- What the pages ask for: judged runs of one recipe, newest first, those of its target branch, and how runs ended.

CREATE INDEX runs_judged ON runs (recipe, number) WHERE outcome = 'judged';
CREATE INDEX runs_branch ON runs (recipe, number) WHERE outcome = 'judged' AND pull IS NULL;
CREATE INDEX runs_ends   ON runs (outcome, verdict) WHERE state = 'finished';
