# A file system on R through the scenarios of a failing disk, with bad sectors
# that the kernel makes. Sourced after lib.sh.
# shellcheck shell=bash

# dying ROUNDS: every few seconds more sectors refuse writes, until the end.
dying() {
  local round
  RANDOM=1
  for ((round = 0; round < $1; round++)); do
    # Ascending, and apart from each other and from those that are there already.
    for ((n = 0; n < 10; n++)); do echo $((RANDOM * 32768 % SECTORS + RANDOM)); done |
      awk -v end="$SECTORS" '$1 < end' | cat - "$SCRATCH/bad" | sort -nu >"$SCRATCH/bad.new"
    mv "$SCRATCH/bad.new" "$SCRATCH/bad"
    # shellcheck disable=SC2046 # a list of sectors
    more_read_only main "$RAM_DISK" $(cat "$SCRATCH/bad")
    sleep 3
  done
}

# bad_sectors: in those of the volume.
bad_sectors() {
  awk -v n=$((SS / 512)) '{ print int($1 / n) }' "$SCRATCH/bad" | xargs
}

# assert_bad_moved WHAT: nothing but bad sectors moved.
assert_bad_moved() {
  assert_eq "$(only_in "$(remapped_sectors_list)" "$(bad_sectors)")" "" "$1"
}

# Sectors moved, only bad ones, and no write failed; how many: moved.
assert_moved() {
  moved=$(status_of .remapped_sectors)
  [ "$moved" -gt 0 ] || fail "no sector moved"
  assert_bad_moved "sectors that moved and are not bad"
  assert_eq "$(events write_failed)" 0 "failed writes"
}

same_tree() {
  tree_sums "$FS/tree" >"$SCRATCH/sums.after"
  assert_same "$SCRATCH/sums" "$SCRATCH/sums.after" "checksums of the tree on $1"
}

# scenarios TYPE MIB [SECTOR_SIZE]: main of MIB, with bad sectors from the start
# under the superblock and all over.
scenarios() {
  local type=$1 mib=$2 moved table
  SS=${3:-512}
  ram_disk "$mib"
  SECTORS=$((mib * 2048))
  { seq 0 8 16; seq 128 4 136; seq 1000 4000 "$SECTORS"; } | sort -nu >"$SCRATCH/bad"

  say "the bare disk: mkfs.$type fails"
  # shellcheck disable=SC2046 # a list of sectors
  read_only_sectors main "$RAM_DISK" $(cat "$SCRATCH/bad")
  table=$(dmsetup table main)
  R=/dev/mapper/main
  (make_filesystem "$type" 2>/dev/null && bounded mount -t "$type" "$R" "$FS" 2>/dev/null &&
    dd if=/dev/zero of="$FS/x" bs=1M count=40 conv=fsync status=none 2>/dev/null) &&
    fail "the bare disk carries $type"
  ! mountpoint -q "$FS" || umount "$FS"

  say "1: $type on R, a tree, fsck"
  volume_over /dev/mapper/main 16M "$SS"
  real_tree "$SCRATCH/tree" 8
  tree_sums "$SCRATCH/tree" >"$SCRATCH/sums"
  loop_attach
  make_filesystem "$type"
  mount_filesystem "$type"

  say "6: copied while sectors die"
  dying 5 &
  DYING=$!
  BOUND=120 bounded cp -r "$SCRATCH/tree" "$FS/"
  BOUND=120 bounded sync -f "$FS"
  wait "$DYING" || fail "dmsetup under load"
  unmount_filesystem "$type"
  check_filesystem "$type"
  loop_detach
  image_restart
  loop_attach
  mount_filesystem "$type"
  same_tree "$type"
  assert_moved

  say "18: fstrim or zeros under the file system ($moved sectors remapped so far)"
  find "$FS/tree" -name "*.p[lm]" -delete
  tree_sums "$FS/tree" >"$SCRATCH/sums"
  BOUND=120 bounded fstrim "$FS" || say "(no discard here)"
  same_tree "$type"

  say "15: main disappears under load, and comes back"
  (
    trap - ERR
    set +e
    while dd if=/dev/urandom of="$FS/load" bs=64k count=8 conv=fsync status=none 2>/dev/null; do :; done
  ) &
  LOAD=$!
  sleep 3
  echo "0 $SECTORS error" | dm_change main
  wait_for 60 process_ended "$LOAD" || fail "the load hangs"
  # Where all of the disk is gone nothing is a bad sector.
  assert_bad_moved "sectors that moved because the disk was gone"
  [ "$(events device_failed)" -ge 1 ] || fail "no device_failed in the history"
  dm_change main <<<"$table"
  wait_for 20 bounded umount "$FS" || fail "umount"
  forget_device "$type"
  loop_give_up
  image_restart
  loop_attach
  mount_filesystem "$type"
  same_tree "$type"
  unmount_filesystem "$type"
  check_filesystem "$type"
  loop_detach
  image_unmount
}
