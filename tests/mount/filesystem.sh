# The life of a file system on a failing disk, for every kind of file system.
# Sourced after lib.sh, by tests that have made and mounted a volume.
# shellcheck shell=bash

# It asks every loop device for its file, and ends where the daemon of one has just
# been killed, as other tests do.
make_btrfs() {
  for _ in 1 2 3 4 5 6; do
    bounded mkfs.btrfs -q -f -K "$@" && return
    sleep 5
  done
  return 1
}

# make_filesystem TYPE [OPTIONS]: on R, without discarding first, so that what
# was never written still reads as main_fill left it.
make_filesystem() {
  local type=$1
  shift
  case $type in
    ext4) bounded mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$@" "$R" ;;
    xfs) bounded mkfs.xfs -q -f -K "$@" "$R" ;;
    btrfs) make_btrfs "$@" "$R" ;;
  esac >"$SCRATCH/mkfs.log" 2>&1 || fail "mkfs.$type: $(cat "$SCRATCH/mkfs.log")"
}

check_filesystem() {
  case $1 in
    ext4) bounded e2fsck -fn "$R" ;;
    xfs) bounded xfs_repair -n "$R" ;;
    btrfs) bounded btrfs check --readonly --check-data-csum "$R" ;;
  esac >"$SCRATCH/check.log" 2>&1 || fail "check of $1: $(cat "$SCRATCH/check.log")"
}

mount_filesystem() {
  local options=nodiscard
  [ "$1" != xfs ] || options=inode64
  bounded mount -t "$1" -o "$options${2:+,$2}" "$R" "$FS"
}

# btrfs remembers a device, and would keep the loop device busy; Linux 6.1 may have
# forgotten it by itself.
forget_device() {
  [ "$1" = btrfs ] || return 0
  bounded btrfs device scan --forget "$R" >"$SCRATCH/forget.log" 2>&1 ||
    grep -q 'No such file' "$SCRATCH/forget.log" || fail "btrfs: $(cat "$SCRATCH/forget.log")"
}

unmount_filesystem() {
  wait_for 20 bounded umount "$FS" || fail "umount of $1"
  forget_device "$1"
}

# more_sectors_die ROUNDS SECTORS OPTIONS: in the background; PID in DYING.
more_sectors_die() {
  local rounds=$1 sectors=$2
  shift 2
  (
    trap - ERR
    for ((i = 0; i < rounds; i++)); do
      inject --random "$sectors" --on write "$@"
      sleep 0.2
    done
  ) &
  DYING=$!
}

# filesystem_survives TYPE MIB [MKFS_OPTIONS]: makes it on R, fills it with MIB
# of real files while sectors die, checks it, restarts remapfs, and compares.
filesystem_survives() {
  local type=$1 mib=$2 failed
  shift 2
  failed=$(events write_failed)
  real_tree "$SCRATCH/tree" "$mib"
  tree_sums "$SCRATCH/tree" >"$SCRATCH/sums"

  loop_attach
  say "mkfs.$type${*:+ $*} on $R"
  make_filesystem "$type" "$@"
  mount_filesystem "$type"
  more_sectors_die 10 60
  BOUND=180 bounded cp -r "$SCRATCH/tree" "$FS/"
  BOUND=180 bounded sync -f "$FS"
  wait "$DYING" || fail "inject under load"
  unmount_filesystem "$type"
  check_filesystem "$type"

  say "restart"
  loop_detach
  image_restart
  loop_attach
  mount_filesystem "$type" ro
  tree_sums "$FS/tree" >"$SCRATCH/sums.after"
  assert_same "$SCRATCH/sums" "$SCRATCH/sums.after" "checksums of the tree on $type"
  unmount_filesystem "$type"
  check_filesystem "$type"
  loop_detach

  say "$type: $(wc -l <"$SCRATCH/sums") files, $(status_of .faults) bad sectors," \
    "$(status_of .remapped_sectors) remapped"
  assert_eq "$(events write_failed)" "$failed" "failed writes in the history"
}
