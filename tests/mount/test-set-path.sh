#!/bin/bash
# The names of two disks are exchanged, as they are after a start of the machine:
# nothing is mounted that is not the volume's, what to do is said, and all is there
# once the volume knows the new names.
. "$(dirname "$0")/lib.sh"
requires root loop jq sqlite3

truncate -s 16M first
truncate -s 2M second
first=$(losetup --find --show --direct-io=on first)
second=$(losetup --find --show --direct-io=on second)
# names FOR_MAIN FOR_SPARE: what stands for /dev/sda and /dev/sdb.
names() {
  ln -sfn "$1" sda
  ln -sfn "$2" sdb
}
names "$first" "$second"

bounded remapctl create -q "$VOLUME" --main sda --spare sdb
inject --sectors 1000-1009 --on write
image_mount
noise content 30
sector_write "$IMAGE" 990 30 <content
assert_eq "$(remapped_sectors_list | wc -w)" 10 "remapped sectors"
must_fail 'unmount that one first' bounded remapctl set-path "$VOLUME" --main sda
image_unmount
bounded remapctl inject "$VOLUME" clear >/dev/null

say "exchanged"
names "$second" "$first"
must_fail 'set-path --main' bounded remapfs "$VOLUME" "$MNT"
must_fail "spare 1 .* and main .* are the same storage" bounded remapctl set-path "$VOLUME" --main sdb
must_fail 'carries no superblock|is not' bounded remapctl set-path "$VOLUME" --spare 1=sdb
bounded remapctl set-path "$VOLUME" --main sdb --spare 1=sda
assert_eq "$(events path_changed)" 2 "path_changed in the history"

serves() {
  image_mount
  sector_read "$IMAGE" 990 30 >seen
  assert_same seen content "$1"
  image_unmount
  bounded remapctl check "$VOLUME" || fail "$1: check: $?"
}
serves "after an exchange of names"

say "gone, and there under another name"
ln -sfn "$second" by-id
rm sda
must_fail 'set-path --spare' bounded remapfs "$VOLUME" "$MNT"
bounded remapctl set-path -q "$VOLUME" --spare 1=by-id
serves "under another name"

say "a daemon that was killed"
image_mount
noise content 30
sector_write "$IMAGE" 990 30 <content
kill_daemon
bounded fusermount3 -u "$MNT"
ln -sfn "$first" by-id-main
bounded remapctl set-path -q "$VOLUME" --main by-id-main
serves "after a kill"
losetup -d "$first" "$second"
