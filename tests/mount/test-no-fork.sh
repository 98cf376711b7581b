#!/bin/bash
# A supervisor that can start no worker tries again at its leisure, and gives up:
# it does not spin, and the mount ends.
. "$(dirname "$0")/lib.sh"
requires root

# A control group that counts processes, of either version.
group=
for hierarchy in $(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts); do
  mkdir "$hierarchy/remapfs-test.$$" 2>/dev/null || continue
  if [ -e "$hierarchy/remapfs-test.$$/pids.max" ]; then
    group=$hierarchy/remapfs-test.$$
    break
  fi
  rmdir "$hierarchy/remapfs-test.$$"
done
[ -n "$group" ] || skip "no control group that limits processes can be made here"
trap 'rmdir "$group" 2>/dev/null || :' EXIT

volume_make 16M 1M
remapfs -f "$VOLUME" "$MNT" >told 2>&1 </dev/null &
supervisor=$!
wait_for 20 bounded test -f "$IMAGE" || fail "not mounted: $(cat told)"
worker=$(worker_pid)
ticks() {
  awk '{ print $14 + $15 }' "/proc/$supervisor/stat" 2>/dev/null || echo 0
}
before=$(ticks)
# Itself, and no more. Its worker is not in the group.
echo "$supervisor" >"$group/cgroup.procs"
echo 1 >"$group/pids.max"
kill -9 "$worker"
sleep 2
process_ended "$supervisor" && fail "gave up within 2 s"
used=$(($(ticks) - before))
[ "$used" -lt 50 ] || fail "the supervisor used $used hundredths of a second in 2 s"
grep -q 'could not be started: Resource temporarily unavailable' told || fail "told $(cat told)"

say "and then it can again"
echo max >"$group/pids.max"
serves() {
  [ "$(status_of .daemon.running)" = true ] && [ "$(worker_pid)" != "$worker" ]
}
wait_for 10 serves || fail "no other worker: $(status_of .daemon)"
sector_read "$IMAGE" 0 1 >/dev/null

say "never: it gives up, and the mount ends"
echo 1 >"$group/pids.max"
kill_worker
wait_for 60 process_ended "$supervisor" || fail "it does not give up"
[ "$(events gave_up)" -ge 1 ] || fail "nothing in history"
wait_for 10 try_unmount "$MNT" || :
