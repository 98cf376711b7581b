#!/bin/bash
# What the next worker of a mount serves is what was mounted, whatever the names mean
# by then: main and spares stay open, and claimed, from the mount to its end.
. "$(dirname "$0")/lib.sh"
requires jq flock
[ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ] ||
  skip "this kernel ($(uname -r)) hands no requests to a successor: Linux 6.9 does"

another_serves() { # BEFORE
  local now
  now=$(worker_pid) && [ "$now" != null ] && [ "$now" != "$1" ]
}

replace_worker() {
  local before
  before=$(worker_pid)
  kill -9 "$before"
  wait_for 20 another_serves "$before" || fail "no worker follows"
}

volume_make 16M 256K
image_mount
inject --sectors 100-107,1000-1999 --on write
noise on-spare 8
noise on-main 8
sector_write "$IMAGE" 100 8 <on-spare
sector_write "$IMAGE" 200 8 <on-main

say "a spare that joined is handed up"
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare2.img,size=1M"
noise more 1000
sector_write "$IMAGE" 1000 1000 <more
[ "$(sql 'SELECT count(*) FROM remap WHERE spare_id = 2')" -gt 0 ] || fail "nothing is on the second spare"

say "files moved aside, and others in their place"
for file in main.img spare.img spare2.img; do
  mv "$file" "$file.mounted"
  head -c "$(stat -c %s "$file.mounted")" /dev/zero >"$file"
done
for round in kill upgrade; do
  if [ "$round" = kill ]; then replace_worker; else bounded remapctl upgrade "$VOLUME" >/dev/null; fi
  sector_read "$IMAGE" 100 8 | cmp - on-spare || fail "what lives on a spare, after $round"
  sector_read "$IMAGE" 200 8 | cmp - on-main || fail "what lives on main, after $round"
  sector_read "$IMAGE" 1000 1000 | cmp - more || fail "what lives on the spare that joined, after $round"
  noise on-main 8
  sector_write "$IMAGE" 200 8 <on-main
  piece main.img.mounted 200 8 | cmp - on-main || fail "written elsewhere, after $round"
done
for file in main.img spare.img spare2.img; do
  cmp -s -n "$(stat -c %s "$file")" "$file" /dev/zero || fail "$file, which was not mounted, was written"
done

say "gone"
rm main.img spare.img spare2.img
replace_worker
sector_read "$IMAGE" 100 8 | cmp - on-spare
sector_read "$IMAGE" 200 8 | cmp - on-main

say "and claimed all the time"
for file in main.img spare.img spare2.img; do
  mv "$file.mounted" "$file"
done
worker=$(worker_pid) supervisor=$(daemon_pid)
kill -STOP "$supervisor"
kill -9 "$worker"
wait_for 10 process_ended "$worker" || fail "the worker survives"
must_fail 'in use' bounded remapctl create other --main main.img --spare other.spare,size=1M --force
must_fail 'in use' bounded remapctl create other --main other.img,size=1M --spare spare2.img --force
kill -CONT "$supervisor"
wait_for 20 another_serves "$worker" || fail "no worker follows"
sector_read "$IMAGE" 1000 1000 | cmp - more

say "what has left is let go"
bounded remapctl retire-spare --lost "$VOLUME" 2 >retire.log 2>&1 || fail "retire-spare: $(cat retire.log)"
let_go() {
  ! ls -l "/proc/$(daemon_pid)/fd" "/proc/$(worker_pid)/fd" 2>/dev/null | grep -q 'spare2.img'
}
wait_for 20 let_go || fail "the spare that was given up is still open"
replace_worker
sector_read "$IMAGE" 200 8 | cmp - on-main
pid=$(daemon_pid)
image_unmount
image_mount
sector_read "$IMAGE" 100 8 | cmp - on-spare
image_unmount
