#!/bin/bash
# A worker that is killed. Before Linux 6.9 that ends the mount, cleanly, and
# nothing that was acknowledged is lost; later the next worker goes on, and the
# load does not notice.
. "$(dirname "$0")/lib.sh"
requires root jq dmsetup
ram_disk 64
# shellcheck disable=SC2046 # a list of sectors
read_only_sectors main "$RAM_DISK" $(seq 8200 37 34000)
volume_on /dev/mapper/main 8M
marks=$SCRATCH/marks

for round in 1 2 3; do
  image_mount
  supervisor=$(daemon_pid)
  rm -f "$marks"
  truncate -s 4M "$marks"
  "$BUILD/tests/vm/cut-load" write "$IMAGE" "$marks" $((round * 8192)) 256 "${ROUNDS:-12}" 2>load.log &
  load=$!
  sleep 4
  worker=$(worker_pid)
  process_ended "$load" && fail "the load was over at once: $(cat load.log)"
  kill -9 "$worker"
  if kernel_is 6.9; then
    wait "$load" || fail "the load noticed: $(cat load.log)"
    wait_for 20 eval '[ "$(daemon_pid)" = "$supervisor" ]' || fail "no worker follows"
    image_unmount
  else
    wait "$load" && fail "the load did not notice"
    say "the load: $(cat load.log)"
    wait_for 20 process_ended "$supervisor" || fail "the supervisor stays"
    wait_for 10 eval '! mountpoint -q "$MNT"' || fail "the mount stays"
    assert_eq "$(status_of .daemon.running)" false "daemon.running"
  fi
  image_mount
  bounded "$BUILD/tests/vm/cut-load" check "$IMAGE" "$marks" $((round * 8192)) 256 ||
    fail "acknowledged writes are lost"
  assert_eq "$(status_of .pending_sectors)" 0 "pending"
  image_unmount
done
say "$(sql "SELECT sum(sectors) FROM remap") sectors remapped"
[ "$(sql "SELECT sum(sectors) FROM remap")" -gt 10 ] || fail "hardly a sector moved"
