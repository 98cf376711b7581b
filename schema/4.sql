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
  "offset" INTEGER PRIMARY KEY CHECK ("offset" >= 0), -- bytes; the place has 4096, or ends with main
  digest   INTEGER NOT NULL -- XXH3-64 of them; 0: all are zero
) STRICT;
