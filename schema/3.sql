-- Version 3: how far the scrub is.

-- The last one that was begun. Written every few seconds, so what was read since
-- is read once more after a crash.
CREATE TABLE scrub (
  id        INTEGER PRIMARY KEY CHECK (id = 1),
  state     TEXT    NOT NULL CHECK (state IN ('running', 'paused', 'done')),
  rate      INTEGER NOT NULL CHECK (rate >= 0),   -- bytes a second at most; 0: no bound
  sector    INTEGER NOT NULL CHECK (sector >= 0), -- all before it have been read
  lost      INTEGER NOT NULL, -- sectors that could not be read: now pending
  weak      INTEGER NOT NULL, -- sectors that could be read only on a retry, or slowly
  moved     INTEGER NOT NULL, -- of these
  cured     INTEGER NOT NULL, -- pending sectors that could be read again
  unsteady  INTEGER NOT NULL, -- places where a read failed that then could not be pinned down
  skipped   INTEGER NOT NULL, -- sectors that were not read
  at        TEXT    NOT NULL
) STRICT;
