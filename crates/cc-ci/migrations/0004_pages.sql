-- What the pages ask for: judged runs of one recipe, newest first, and how many runs ended how.

CREATE INDEX runs_judged ON runs (recipe, number) WHERE outcome = 'judged';
CREATE INDEX runs_ends   ON runs (outcome, verdict) WHERE state = 'finished';
