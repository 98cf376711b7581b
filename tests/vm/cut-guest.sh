#!/bin/bash
# In the machine, for host-power-cut.sh: recorded disks under load. CUT_FOLDER
# has the list of holes; CUT_ROUNDS and CUT_FILES tell how much is written.
. "$(dirname "$0")/lib.sh"
. "$TESTS/cut.sh"
main=/dev/vdb spare=/dev/vdc database=/dev/vdd marks=/dev/vde

mkdir db
mount -t ext4 "$database" db
VOLUME=$SCRATCH/db/volume
# shellcheck disable=SC2046 # a list of sectors
read_only_sectors main "$main" $(cat "$CUT_FOLDER/holes")
bounded remapctl create "$VOLUME" --main /dev/mapper/main --spare "$spare" >create.log 2>&1 ||
  fail "create: $(cat create.log)"
image_mount
R=$(bounded losetup -f --show --direct-io=on --sizelimit $((CUT_FIRST * 512)) "$IMAGE")
bounded mkfs.ext4 -q -F -J size=4 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$R"
bounded mount -o nodiscard "$R" "$FS"
sync

mark() {
  bounded "$BUILD/tests/vm/cut-load" mark "$marks" "$1" "$2"
}

write_files() {
  for ((i = 1; i <= CUT_FILES; i++)); do
    cut_file "$i" >"$FS/$i"
    bounded sync "$FS/$i" "$FS"
    mark 4 "$i"
  done
}

mark 1 0
say "$CUT_FILES files on ext4, and four writers beside it"
write_files &
files=$!
BOUND=900 bounded "$BUILD/tests/vm/cut-load" write "$IMAGE" "$marks" "$CUT_FIRST" "$CUT_BLOCKS" "$CUT_ROUNDS" ||
  fail "cut-load"
wait "$files" || fail "writing files"
mark 5 0
say "$(status_of .remapped_sectors) sectors moved"
[ "$(status_of .remapped_sectors)" -gt 50 ] || fail "hardly a sector moved"
assert_eq "$(events write_failed)" 0 "failed writes"
unmount_filesystem ext4
bounded losetup -d "$R"
image_unmount
umount db
