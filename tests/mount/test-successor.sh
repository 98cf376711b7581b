#!/bin/bash
# What the next worker of a mount serves is what was mounted, whatever the names mean
# by then: main and spares stay open, and claimed, from the mount to its end.
LIMIT=400
. "$(dirname "$0")/lib.sh"
requires jq flock sqlite3
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

say "upgrade to a program that cannot go on: it is asked first, and the mount lives"
mkdir bin
# Started from a path of its own, whose file may be replaced.
cp "$BUILD/remapfs" bin/remapfs
install_program() {
  cat >bin/new
  chmod +x bin/new
  mv bin/new bin/remapfs
}
PATH=$SCRATCH/bin:$PATH image_mount
worker=$(worker_pid)
refused() { # REGEX
  must_fail "not upgraded.*$1" bounded remapctl upgrade "$VOLUME"
  sector_read "$IMAGE" 200 8 | cmp - on-main || fail "not served after that"
}
install_program <<<'not a program'
refused 'remapfs'
printf '#!/bin/sh\nexit 3\n' | install_program
refused 'code 3'
printf '#!/bin/sh\nexec sleep 100\n' | install_program
refused 'in time'
rm bin/remapfs
refused 'cannot open'
assert_eq "$(worker_pid)" "$worker" "worker"

say "one that says it can, and then does not serve: the former program goes on"
printf '#!/bin/sh\ncase "$*" in *--probe*) exit 0 ;; esac\nexit 7\n' | install_program
refused 'code 7'
[ "$(worker_pid)" != "$worker" ] || fail "the same worker"
say "also when that one dies, whatever lies at its path by now"
replace_worker
sector_read "$IMAGE" 200 8 | cmp - on-main

say "one that can"
install_program <"$BUILD/remapfs"
worker=$(worker_pid)
bounded remapctl upgrade "$VOLUME" >/dev/null
[ "$(worker_pid)" != "$worker" ] || fail "the same worker"
rm bin/remapfs
replace_worker
sector_read "$IMAGE" 200 8 | cmp - on-main
image_unmount

say "80 workers killed in 40 s, before they serve"
image_mount
supervisor=$(daemon_pid)
killed=0
end=$((SECONDS + 40))
while [ "$killed" -lt 80 ] && [ "$SECONDS" -lt "$end" ]; do
  for worker in $(cat "/proc/$supervisor/task/$supervisor/children"); do
    kill -9 "$worker" 2>/dev/null && killed=$((killed + 1))
  done
  sleep 0.05
done
echo "   $killed workers killed"
sector_read "$IMAGE" 200 8 | cmp - on-main || fail "the mount ended"
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"

say "a worker is killed while the database's lock is held: requests wait, and go on"
lock_database() { # SECONDS
  sqlite3 "$VOLUME" 'BEGIN IMMEDIATE;' ".shell touch locked; sleep $1" &
  locker=$!
  wait_for 10 test -e locked || fail "the shell does not lock"
  rm locked
}
is_failed() {
  [ "$(status_of .state)" = failed ] && status_of .trouble | grep -q "$1"
}
lock_database 25
kill -9 "$(worker_pid)"
started=$SECONDS
noise waiting 8
remapped=$(sql 'SELECT sum(sectors) FROM remap')
(BOUND=120 sector_write "$IMAGE" 300 8 <waiting && touch written) &
writer=$!
wait_for 10 is_failed 'requests wait' || fail "status says $(cat status.json)"
assert_eq "$(jq .remapped_sectors status.json)" "$remapped" "remapped sectors, of which the worker that waits knows nothing"
wait_for 10 is_failed 'lock' || fail "status says $(cat status.json)"
status_of .trouble
[ ! -e written ] || fail "written by nobody"
must_fail 'failed' bounded remapctl health "$VOLUME"
wait "$writer" || fail "a request that waited failed"
[ $((SECONDS - started)) -ge 20 ] || fail "the lock was not held: $((SECONDS - started)) s"
sector_read "$IMAGE" 300 8 | cmp - waiting
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
[ "$(events gave_up)" = 0 ] || fail "given up"
# A spare was given up, so it is not ok.
is_served() {
  ! is_failed .
}
wait_for 20 is_served || fail "state afterwards: $(cat status.json)"

say "and while it is moved away"
mv "$VOLUME" away
kill -9 "$(tr -d ' ' <"/proc/$supervisor/task/$supervisor/children")"
sleep 12
process_ended "$supervisor" && fail "the mount ended"
mv away "$VOLUME"
sector_read "$IMAGE" 300 8 | cmp - waiting
wait_for 20 is_served || fail "state afterwards: $(cat status.json)"

say "unmounted while a worker waits for it"
lock_database 60
kill -9 "$(worker_pid)"
wait_for 10 is_failed 'lock' || fail "status says $(cat status.json)"
bounded umount -l "$MNT" 2>/dev/null || bounded fusermount3 -u -z "$MNT"
# On a busy machine too it does not wait for the lock.
wait_for 40 process_ended "$supervisor" || fail "remapfs does not end"
kill "$locker"
wait
image_mount
sector_read "$IMAGE" 300 8 | cmp - waiting
image_unmount

say "main has failed, and a worker is killed: the next one serves what it can"
VOLUME=$SCRATCH/cut MAIN=$SCRATCH/cut.img SPARE=$SCRATCH/cut.spare
volume_make 16M 1M
inject --sectors 100-107 --on write
image_mount
supervisor=$(daemon_pid)
sector_write "$IMAGE" 100 8 <on-spare
truncate -s 8M "$MAIN"
replace_worker
sector_read "$IMAGE" 100 8 | cmp - on-spare
must_fail 'input/output error' sector_write "$IMAGE" 30000 8 <on-spare
must_fail 'input/output error' sector_read "$IMAGE" 20000 8
assert_eq "$(stat -c %s "$MAIN")" $((8 << 20)) "size of main"
assert_eq "$(status_of .state)" failed "state"
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
image_unmount

[ "$(id -u)" = 0 ] && command -v mkfs.ext4 >/dev/null && losetup -f >/dev/null 2>&1 || exit 0
# A file system with small blocks may have no room for what is mapped of the log's index.
for block in 4096 1024; do
  say "a worker is killed while the disk of the database is full, blocks of $block: requests wait, and go on"
  truncate -s 8M full.fs
  mkfs.ext4 -q -F -b "$block" full.fs
  mkdir -p full
  bounded mount -o loop full.fs full
  VOLUME=$SCRATCH/full/volume MAIN=$SCRATCH/full.img SPARE=$SCRATCH/full.spare
  rm -f "$MAIN" "$SPARE"
  volume_make 16M 1M
  inject --sectors 1000-1999 --on write
  image_mount
  supervisor=$(daemon_pid)
  dd if=/dev/zero of=full/filler bs=1k status=none 2>/dev/null || :
  commits() {
    for ((sector = 1000; sector < 1900; sector += 8)); do
      sector_write "$IMAGE" "$sector" 8 <waiting 2>/dev/null || return 1
    done
  }
  ! commits || fail "the database commits on a full disk"
  kill -9 "$(tr -d ' ' <"/proc/$supervisor/task/$supervisor/children")"
  BOUND=120 sector_write "$IMAGE" 400 8 <on-spare &
  writer=$!
  is_told() {
    bounded remapctl status "$VOLUME" >text 2>&1 || :
    grep -Eq 'requests wait|is full' text
  }
  wait_for 10 is_told || fail "status says $(cat text)"
  sleep 12
  ! process_ended "$supervisor" || fail "the mount ended"
  rm full/filler
  wait "$writer" || fail "a request that waited failed"
  commits || fail "sectors do not move, with room again"
  sector_read "$IMAGE" 400 8 | cmp - on-spare
  assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
  image_unmount
  bounded umount full
done
