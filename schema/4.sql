-- Version 4.

-- ---- Which disk main is ------------------------------------------------------

-- What told main from every other disk when it was last looked at. No row: it
-- never was.
CREATE TABLE main_identity (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  hardware      TEXT, -- a number that the device has for ever; NULL: it has none
  file          TEXT, -- of a file: its inode and the time of its birth; of a loop device: an inode
  written_at    INTEGER NOT NULL, -- of a file: when it was last written, nanoseconds since 1970; 0: not known
  opens         INTEGER NOT NULL, -- what volume.opens was when the rows of main_place were made
  changed_since TEXT -- when the volume was last closed before something else wrote to main; NULL: nothing did
) STRICT;

-- What main held in some places when the volume was last closed in order. It
-- says something while nobody has opened the volume since.
CREATE TABLE main_place (
  "offset" INTEGER PRIMARY KEY CHECK ("offset" >= 0), -- bytes; the place has 65536, or ends with main
  digest   INTEGER NOT NULL -- XXH3-64 of them, sectors that do not live on main taken for zeros; 0: all are zero
) STRICT;

-- ---- History, when the clock goes back ------------------------------------------

-- The order of history is that of its ids; a row's time is what the clock said.
-- A clock that is less than a minute behind the newest row was adjusted: the row
-- gets that one's time. A clock that is further behind was ahead before, or is
-- wrong now: a row 'clock_back' says so, with both times, and it and all that
-- follow have the clock's time again. So times go back nowhere but at such a row.

DROP TRIGGER history_in_order;

CREATE TRIGGER history_in_order BEFORE INSERT ON history
WHEN NEW.at IS NOT strftime('%Y-%m-%dT%H:%M:%fZ', NEW.at)
  OR (NEW.event <> 'clock_back' AND NEW.at < (SELECT at FROM history ORDER BY id DESC LIMIT 1))
BEGIN SELECT RAISE(ABORT, 'history is in the order of time, as YYYY-MM-DDTHH:MM:SS.SSSZ'); END;

-- ---- Which copy of a spare is the last one -----------------------------------

-- Each opening and each orderly end gives all spares a new random number, the stamp.
-- next_stamp is committed before the first superblock is written with it, stamp
-- after the last one was: so a spare has one of the two. 0: none.
ALTER TABLE spare ADD COLUMN stamp INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spare ADD COLUMN next_stamp INTEGER NOT NULL DEFAULT 0;
-- How many of its superblocks carry one of them for certain.
ALTER TABLE spare ADD COLUMN stamped INTEGER NOT NULL DEFAULT 0 CHECK (stamped BETWEEN 0 AND 2);
-- The sequence that the spare had durably confirmed before the last commit.
ALTER TABLE spare ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0 CHECK (confirmed >= 0);
