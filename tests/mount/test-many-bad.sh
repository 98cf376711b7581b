#!/bin/bash
# Scenario 7: a 1 GiB main of which 5% cannot be written, then one with a cluster,
# 100 random bad sectors and a list of them from a file: a file system that keeps
# its data on it, with sums, fsck and a restart, and only bad sectors moved.
. "$(dirname "$0")/lib.sh"
. "$TESTS/filesystem.sh"
requires root loop jq fs:ext4 mkfs.ext4 e2fsck

head -c 24M /dev/urandom >noise

# keeps_data WHAT: ext4 on the volume as it is, and what is written to it.
keeps_data() {
  local begin=$SECONDS failed
  image_mount
  failed=$(events write_failed)
  loop_attach
  make_filesystem ext4 -b 4096
  mount_filesystem ext4
  for i in 1 2 3 4; do
    mkdir "$FS/$i"
    (cd "$FS/$i" && split -b 256k ../../noise)
  done
  BOUND=120 bounded sync -f "$FS"
  unmount_filesystem ext4
  check_filesystem ext4
  loop_detach
  image_restart
  loop_attach
  mount_filesystem ext4 ro
  for i in 1 2 3 4; do
    cat "$FS/$i"/x* | cmp - noise || fail "$1: copy $i differs"
  done
  unmount_filesystem ext4
  check_filesystem ext4
  loop_detach
  assert_eq "$(events write_failed)" "$failed" "$1: failed writes"
  assert_eq "$(events spares_full)" 0 "$1: spares_full"
  say "$1: $(status_of .faults) of $((1 << 21)) sectors bad," \
    "$(status_of .remapped_sectors) remapped, $((SECONDS - begin)) s"
  image_unmount
}

fresh() {
  rm -f "$VOLUME"* "$MAIN" "$SPARE"
  volume_make 1G 96M
}

say "5% in runs of 8, as a scratched disk has them"
fresh
# One run in each 159 sectors, at any place in there. No two awks agree on rand().
awk -v end=$((1 << 21)) 'BEGIN { seed = 7; for (s = 0; s + 159 <= end; s += 159) {
  seed = seed * 16807 % 2147483647
  for (i = 0; i < 8; i++) print s + seed % 152 + i } }' >list
inject --file list --on write
assert_eq "$(status_of .faults)" "$(wc -l <list)" "faults from the list"
[ "$(wc -l <list)" -ge $(((1 << 21) / 20)) ] || fail "the list has less than 5%"
keeps_data "5% from a file"
assert_only_bad_moved
[ "$(status_of .remapped_sectors)" -ge 5000 ] || fail "too few sectors moved"

say "a cluster, 100 random ones, and a list"
fresh
# Where ext4 has its first group: superblock, descriptors, bitmaps, inodes.
inject --sectors 0-40959 --on write
inject --random 100 --on write
awk 'BEGIN { for (s = 50001; s < 2097152; s += 20011) print s }' >list
inject --file list --on write
keeps_data "a cluster of 20 MiB, 100 random, a list of $(wc -l <list)"
assert_only_bad_moved
[ "$(status_of .remapped_sectors)" -ge 5000 ] || fail "too few sectors moved"
