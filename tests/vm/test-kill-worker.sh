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
  "$BUILD/tests/vm/cut-load" write "$IMAGE" "$marks" $((round * 8192)) 256 "${ROUNDS:-40}" 2>load.log &
  load=$!
  sleep 2
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

say "an upgrade to a program that says it can, and then does not serve: the former program goes on"
mkdir bin
cp "$BUILD/remapfs" bin/
PATH=$SCRATCH/bin:$PATH image_mount
supervisor=$(daemon_pid)
printf '#!/bin/sh\ncase "$*" in *--probe*) exit 0 ;; esac\nexit 7\n' >bin/new
chmod +x bin/new
mv bin/new bin/remapfs
must_fail "not upgraded.*code 7" bounded remapctl upgrade "$VOLUME"
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
bounded "$BUILD/tests/vm/cut-load" check "$IMAGE" "$marks" $((3 * 8192)) 256 || fail "not served after that"
image_unmount
