-- The database of a remapfs volume, version 1.
--
-- This file stays as it is: a volume is opened only if its schema is the one that
-- these files make, to the letter (src/store/schema.c). What changes goes into
-- the next version. Views of your own are welcome in a volume; triggers, tables
-- and indexes are not.
--
-- Open it with sqlite3 at any time, also while remapfs runs:
--
--     sqlite3 VOLUME 'SELECT * FROM history'
--
-- Sectors are volume sectors (volume.sector_size bytes), counted from 0.
-- Times are UTC. Rows of remap, pending and bad_slot are replaced, never
-- updated; history only grows.

PRAGMA application_id = 0x524d4653; -- 'RMFS'

CREATE TABLE volume (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  uuid          TEXT    NOT NULL CHECK (length(uuid) = 36),
  created_at    TEXT    NOT NULL,
  main_path     TEXT    NOT NULL CHECK (main_path LIKE '/%'),
  main_sectors  INTEGER NOT NULL CHECK (main_sectors BETWEEN 1 AND 8796093022208),
  sector_size   INTEGER NOT NULL CHECK (sector_size IN (512, 4096)),
  opens         INTEGER NOT NULL DEFAULT 0 CHECK (opens >= 0), -- the epoch of sequence numbers
  map_sum       INTEGER NOT NULL DEFAULT 0 -- exclusive or of the XXH3-64 of all rows of remap and pending
) STRICT;

CREATE TABLE spare (
  id        INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 32767),
  uuid      TEXT    NOT NULL UNIQUE CHECK (length(uuid) = 36),
  added_at  TEXT    NOT NULL,
  path      TEXT    NOT NULL CHECK (path LIKE '/%'),
  "offset"  INTEGER NOT NULL CHECK ("offset" >= 0), -- bytes
  length    INTEGER NOT NULL CHECK (length > 0),    -- bytes
  slots     INTEGER NOT NULL CHECK (slots > 0)
) STRICT;

-- Sectors that live on a spare: main_sector + i is in slot + i.
CREATE TABLE remap (
  main_sector INTEGER PRIMARY KEY CHECK (main_sector >= 0),
  sectors     INTEGER NOT NULL CHECK (sectors > 0),
  spare_id    INTEGER NOT NULL REFERENCES spare (id),
  slot        INTEGER NOT NULL CHECK (slot >= 0),
  sequence    INTEGER NOT NULL, -- as in the descriptors on the spare
  error       TEXT,             -- what main, or the former slot, answered
  at          TEXT    NOT NULL,
  UNIQUE (spare_id, slot)
) STRICT;

-- Sectors that could not be read and have no copy. They fail until written.
CREATE TABLE pending (
  sector    INTEGER PRIMARY KEY CHECK (sector >= 0),
  sectors   INTEGER NOT NULL CHECK (sectors > 0),
  spare_id  INTEGER REFERENCES spare (id), -- where they were: NULL is main
  slot      INTEGER CHECK (slot >= 0),
  error     TEXT,
  at        TEXT    NOT NULL,
  CHECK ((spare_id IS NULL) = (slot IS NULL))
) STRICT;

-- Slots that failed and will not be used again.
CREATE TABLE bad_slot (
  spare_id  INTEGER NOT NULL REFERENCES spare (id),
  slot      INTEGER NOT NULL CHECK (slot >= 0),
  slots     INTEGER NOT NULL CHECK (slots > 0),
  error     TEXT,
  at        TEXT    NOT NULL,
  PRIMARY KEY (spare_id, slot)
) STRICT;

-- Simulated bad sectors: see remapctl inject.
CREATE TABLE fault (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  spare_id  INTEGER REFERENCES spare (id), -- NULL: on main
  sector    INTEGER NOT NULL CHECK (sector >= 0),
  sectors   INTEGER NOT NULL CHECK (sectors > 0),
  "on"      TEXT    NOT NULL CHECK ("on" IN ('read', 'write', 'both')),
  error     TEXT, -- NULL: only slow
  life      TEXT    NOT NULL CHECK (life IN ('permanent', 'times', 'until rewritten')),
  times     INTEGER CHECK (times > 0),
  delay_ms  INTEGER NOT NULL DEFAULT 0 CHECK (delay_ms BETWEEN 0 AND 3600000),
  at        TEXT    NOT NULL,
  CHECK ((life = 'times') = (times IS NOT NULL)),
  CHECK (life <> 'until rewritten' OR "on" = 'read'),
  CHECK (error IS NOT NULL OR delay_ms > 0)
) STRICT;

-- Everything that ever happened, in order.
CREATE TABLE history (
  id          INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id > 0),
  at          TEXT NOT NULL,
  event       TEXT NOT NULL,
  main_sector INTEGER,
  sectors     INTEGER,
  spare_id    INTEGER,
  slot        INTEGER,
  error       TEXT,
  detail      TEXT
) STRICT;

-- Whether the last daemon ended in order is asked at every open.
CREATE INDEX history_life ON history (id) WHERE event IN ('opened', 'closed');

-- ---- What no statement can do --------------------------------------------

CREATE TRIGGER history_no_update BEFORE UPDATE ON history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

CREATE TRIGGER history_no_delete BEFORE DELETE ON history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

-- INSERT OR REPLACE would delete without firing the trigger above. In a BEFORE
-- trigger an id that SQLite is to choose reads as -1.
CREATE TRIGGER history_no_replace BEFORE INSERT ON history
WHEN NEW.id <> -1
BEGIN SELECT RAISE(ABORT, 'history is append-only: its ids are given by SQLite'); END;

CREATE TRIGGER history_in_order BEFORE INSERT ON history
WHEN NEW.at IS NOT strftime('%Y-%m-%dT%H:%M:%fZ', NEW.at)
  OR NEW.at < (SELECT at FROM history ORDER BY id DESC LIMIT 1)
BEGIN SELECT RAISE(ABORT, 'history is in the order of time, as YYYY-MM-DDTHH:MM:SS.SSSZ'); END;

CREATE TRIGGER volume_no_delete BEFORE DELETE ON volume
BEGIN SELECT RAISE(ABORT, 'a volume row cannot be deleted'); END;

CREATE TRIGGER volume_fixed BEFORE UPDATE OF id, uuid, created_at, main_sectors, sector_size ON volume
BEGIN SELECT RAISE(ABORT, 'what a volume is cannot change'); END;

CREATE TRIGGER spare_fixed BEFORE UPDATE OF id, uuid, added_at, length, slots ON spare
BEGIN SELECT RAISE(ABORT, 'what a spare is cannot change'); END;

CREATE TRIGGER spare_in_use BEFORE DELETE ON spare
WHEN EXISTS (SELECT 1 FROM remap WHERE spare_id = OLD.id)
  OR EXISTS (SELECT 1 FROM pending WHERE spare_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'this spare holds sectors'); END;

CREATE TRIGGER remap_no_update BEFORE UPDATE ON remap
BEGIN SELECT RAISE(ABORT, 'remaps are replaced, not updated'); END;

CREATE TRIGGER pending_no_update BEFORE UPDATE ON pending
BEGIN SELECT RAISE(ABORT, 'pending rows are replaced, not updated'); END;

CREATE TRIGGER bad_slot_no_update BEFORE UPDATE ON bad_slot
BEGIN SELECT RAISE(ABORT, 'bad slots are not updated'); END;

-- Rows of one table never overlap, so only the nearest row before the end of
-- the new one can.
CREATE TRIGGER remap_valid BEFORE INSERT ON remap
BEGIN
  SELECT RAISE(ABORT, 'remap outside main')
    WHERE NEW.main_sector + NEW.sectors > (SELECT main_sectors FROM volume);
  SELECT RAISE(ABORT, 'remap outside its spare')
    WHERE NEW.slot + NEW.sectors > ifnull((SELECT slots FROM spare WHERE id = NEW.spare_id), -1);
  SELECT RAISE(ABORT, 'sector is remapped already')
    WHERE NEW.main_sector < (SELECT main_sector + sectors FROM remap
      WHERE main_sector < NEW.main_sector + NEW.sectors ORDER BY main_sector DESC LIMIT 1);
  SELECT RAISE(ABORT, 'sector is pending')
    WHERE NEW.main_sector < (SELECT sector + sectors FROM pending
      WHERE sector < NEW.main_sector + NEW.sectors ORDER BY sector DESC LIMIT 1);
  SELECT RAISE(ABORT, 'slot is used already')
    WHERE NEW.slot < (SELECT slot + sectors FROM remap
      WHERE spare_id = NEW.spare_id AND slot < NEW.slot + NEW.sectors ORDER BY slot DESC LIMIT 1);
  SELECT RAISE(ABORT, 'slot is bad')
    WHERE NEW.slot < (SELECT slot + slots FROM bad_slot
      WHERE spare_id = NEW.spare_id AND slot < NEW.slot + NEW.sectors ORDER BY slot DESC LIMIT 1);
END;

CREATE TRIGGER pending_valid BEFORE INSERT ON pending
BEGIN
  SELECT RAISE(ABORT, 'pending sector outside main')
    WHERE NEW.sector + NEW.sectors > (SELECT main_sectors FROM volume);
  SELECT RAISE(ABORT, 'pending slot outside its spare')
    WHERE NEW.spare_id IS NOT NULL AND NEW.slot + NEW.sectors > ifnull((SELECT slots FROM spare WHERE id = NEW.spare_id), -1);
  SELECT RAISE(ABORT, 'sector is pending already')
    WHERE NEW.sector < (SELECT sector + sectors FROM pending
      WHERE sector < NEW.sector + NEW.sectors ORDER BY sector DESC LIMIT 1);
  SELECT RAISE(ABORT, 'sector is remapped')
    WHERE NEW.sector < (SELECT main_sector + sectors FROM remap
      WHERE main_sector < NEW.sector + NEW.sectors ORDER BY main_sector DESC LIMIT 1);
END;

CREATE TRIGGER bad_slot_valid BEFORE INSERT ON bad_slot
BEGIN
  SELECT RAISE(ABORT, 'bad slot outside its spare')
    WHERE NEW.slot + NEW.slots > ifnull((SELECT slots FROM spare WHERE id = NEW.spare_id), -1);
  SELECT RAISE(ABORT, 'slot is bad already')
    WHERE NEW.slot < (SELECT slot + slots FROM bad_slot
      WHERE spare_id = NEW.spare_id AND slot < NEW.slot + NEW.slots ORDER BY slot DESC LIMIT 1);
  SELECT RAISE(ABORT, 'slot is used')
    WHERE NEW.slot < (SELECT slot + sectors FROM remap
      WHERE spare_id = NEW.spare_id AND slot < NEW.slot + NEW.slots ORDER BY slot DESC LIMIT 1);
END;

-- ---- For people -----------------------------------------------------------

-- Every sector that is not served from main, and where it is.
CREATE VIEW bad_sectors AS
  SELECT main_sector AS sector, sectors, 'remapped' AS state, spare_id, slot, error, at FROM remap
  UNION ALL
  SELECT sector, sectors, 'pending', spare_id, slot, error, at FROM pending
  ORDER BY 1;

-- How full each spare is.
CREATE VIEW spare_usage AS
  SELECT s.id, s.path, s.slots,
         (SELECT coalesce(sum(sectors), 0) FROM remap WHERE spare_id = s.id) AS used,
         (SELECT coalesce(sum(slots), 0) FROM bad_slot WHERE spare_id = s.id) AS bad,
         s.slots - (SELECT coalesce(sum(sectors), 0) FROM remap WHERE spare_id = s.id)
                 - (SELECT coalesce(sum(slots), 0) FROM bad_slot WHERE spare_id = s.id) AS free
  FROM spare s;
