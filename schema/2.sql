-- Version 2: spares that leave a volume.
--
-- active    lends its free slots
-- retiring  lends none any more, and is being emptied on to the others
-- retired   holds nothing, and is not opened any more
-- lost      will never be seen again: what it held is pending

ALTER TABLE spare ADD COLUMN state TEXT NOT NULL DEFAULT 'active'
  CHECK (state IN ('active', 'retiring', 'retired', 'lost'));

CREATE TRIGGER spare_state_forward BEFORE UPDATE OF state ON spare
WHEN OLD.state IN ('retired', 'lost') OR NEW.state = 'active'
BEGIN SELECT RAISE(ABORT, 'a spare that left does not come back'); END;

CREATE TRIGGER spare_state_empty BEFORE UPDATE OF state ON spare
WHEN NEW.state IN ('retired', 'lost') AND EXISTS (SELECT 1 FROM remap WHERE spare_id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'this spare holds sectors'); END;

CREATE TRIGGER remap_spare_left BEFORE INSERT ON remap
WHEN (SELECT state FROM spare WHERE id = NEW.spare_id) IN ('retired', 'lost')
BEGIN SELECT RAISE(ABORT, 'this spare has left'); END;

DROP VIEW spare_usage;

-- How full each spare is. Only an active one gives what is free.
CREATE VIEW spare_usage AS
  SELECT s.id, s.path, s.slots,
         (SELECT coalesce(sum(sectors), 0) FROM remap WHERE spare_id = s.id) AS used,
         (SELECT coalesce(sum(slots), 0) FROM bad_slot WHERE spare_id = s.id) AS bad,
         s.slots - (SELECT coalesce(sum(sectors), 0) FROM remap WHERE spare_id = s.id)
                 - (SELECT coalesce(sum(slots), 0) FROM bad_slot WHERE spare_id = s.id) AS free,
         s.state
  FROM spare s;
