#!/bin/bash
# Scenario 6: 20 writers at once on ext4, xfs and btrfs while sectors keep dying,
# 20 rounds of 50 more: no error reaches the file system, every checksum holds,
# also after a restart, and fsck finds nothing.
LIMIT=800
. "$(dirname "$0")/lib.sh"
. "$TESTS/filesystem.sh"
requires root loop jq fs:ext4 fs:xfs fs:btrfs mkfs.ext4 e2fsck mkfs.xfs xfs_repair mkfs.btrfs btrfs

WRITERS=20
SLOTS=6 # files of each writer, written again and again
head -c 8M /dev/urandom >pool

# What goes on beside the writers, all at once. Each is a function that ends by
# itself; the writers write until all of them have.
beside=(sectors_die)

sectors_die() {
  for _ in $(seq 20); do
    inject --random 50 --on write
    sleep 0.1
  done
}

# writer NUMBER: files of 4 KiB to 512 KiB with known sums, until there is "stop".
writer() {
  local n name blocks skip
  mkdir "$FS/$1" "sums/$1"
  RANDOM=$1
  for ((n = 0; ; n++)); do
    [ "$n" -lt "$SLOTS" ] || [ ! -e stop ] || break
    name=$((n % SLOTS))
    blocks=$((1 + RANDOM % 128))
    skip=$((RANDOM % 1900))
    dd if=pool bs=4k skip="$skip" count="$blocks" status=none >"piece.$1"
    cp "piece.$1" "$FS/$1/$name"
    [ $((n % 3)) != 0 ] || sync "$FS/$1/$name"
    sha256sum <"piece.$1" >"sums/$1/$name"
    # Twenty of them shall wait for the disk, not for a processor.
    sleep 0.2
  done
  echo "$n" >"written.$1"
}

sums_hold() {
  local list
  list=$(cd sums && for name in */*; do echo "$(cut -c1-64 "$name")  $FS/$name"; done)
  assert_eq "$(wc -l <<<"$list")" $((WRITERS * SLOTS)) "files with a sum"
  bounded sha256sum --quiet -c <<<"$list" || fail "sums differ $1"
}

# What the kernel says of R since mark_log (its log may have lost what is older), and
# what the file system counted.
MARK="remapfs-test $$:"
mark_log() {
  echo "$MARK $R" >/dev/kmsg 2>/dev/null || :
}

errors_seen() {
  dmesg 2>/dev/null | awk -v mark="$MARK" 'index($0, mark) { text = ""; next } { text = text $0 "\n" }
    END { printf "%s", text }' |
    grep -cE "I/O error.*\b${R#/dev/}\b|\(${R#/dev/}\).*error" || :
  case $1 in
    ext4) cat "/sys/fs/ext4/${R#/dev/}/errors_count" ;;
    btrfs) bounded btrfs device stats "$FS" | awk '{ n += $2 } END { print n }' ;;
  esac
}

# survives TYPE SIZE
survives() {
  local type=$1 begin=$SECONDS before after i jobs=() writers=()
  rm -rf "$VOLUME"* "$MAIN" "$SPARE" sums stop written.*
  mkdir sums
  volume_make "$2" 32M
  image_mount
  loop_attach
  make_filesystem "$type"
  mount_filesystem "$type"
  mark_log
  before=$(errors_seen "$type" | xargs)
  for i in $(seq "$WRITERS"); do
    (writer "$i") &
    writers+=($!)
  done
  for i in "${beside[@]}"; do
    ("$i") &
    jobs+=($!)
  done
  for i in "${jobs[@]}"; do
    wait "$i" || fail "beside the writers"
  done
  touch stop
  for i in "${writers[@]}"; do
    wait "$i" || fail "a writer met an error on $type"
  done
  BOUND=120 bounded sync -f "$FS"
  after=$(errors_seen "$type" | xargs)
  assert_eq "$after" "$before" "errors of R and $type"
  sums_hold "while mounted"
  unmount_filesystem "$type"
  check_filesystem "$type"
  loop_detach
  image_restart
  loop_attach
  mount_filesystem "$type" ro
  sums_hold "after a restart"
  unmount_filesystem "$type"
  check_filesystem "$type"
  assert_only_bad_moved
  assert_eq "$(events write_failed)" 0 "failed writes"
  [ "$(status_of .remapped_sectors)" -ge 50 ] || fail "only $(status_of .remapped_sectors) sectors moved"
  say "$type: $WRITERS writers, $(awk '{ n += $1 } END { print n }' written.*) files," \
    "$(status_of .faults) bad sectors, $(status_of .remapped_sectors) remapped, $((SECONDS - begin)) s"
  loop_detach
  image_unmount
}

survives ext4 128M
survives xfs 320M
survives btrfs 160M
