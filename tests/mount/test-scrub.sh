#!/bin/bash
# A scrub of a mounted volume: beside a verifying load on the loop device, with
# the worker killed in the middle; and of one that is not mounted.
. "$(dirname "$0")/lib.sh"
requires root loop jq fio

scrub() {
  bounded remapctl scrub "$VOLUME" "$@"
}
scrub_is() {
  scrub -J >scrub.json || fail "scrub status: $?"
  jq -r ".scrub.$1" scrub.json
}
scrubbing_threads() {
  grep -lx scrub /proc/"$(worker_pid)"/task/*/comm
}
one_thread_scrubs() {
  [ "$(scrubbing_threads | wc -l)" = 1 ]
}
noted() {
  [ "$(sql 'SELECT sector FROM scrub')" -ge "$1" ]
}

volume_make 96M 8M
noise content 64
sector_write "$MAIN" 100000 64 <content
image_mount
loop_attach
assert_eq "$(scrub_is state)" none "state before the first one"
must_fail 'no scrub to resume' scrub resume
must_fail 'no scrub to pause' scrub pause
must_fail 'less than 64K' scrub start --rate 1
must_fail 'no action' scrub begin

say "under load, and the worker is killed in the middle"
# The load is below 64 MiB; what is bad to read lies above, but for one that
# nobody reads but the scrub.
inject --sectors 140000,150000-150003 --on read
inject --sectors 100005 --on read --times 3
inject --sectors 190000 --on read
inject --percent 0.5 --on write --seed 7
cat >load.fio <<END
[global]
filename=$R
direct=1
ioengine=psync
rw=randwrite
bs=4k
size=10M
offset_increment=10M
numjobs=4
time_based
runtime=8
verify=crc32c
verify_fatal=1
verify_backlog=256
group_reporting=1
[writer]
END
BOUND=60 bounded fio --output=fio.log load.fio &
load=$!
scrub start --rate 24M
assert_eq "$(scrub_is state)" running "state once it was started"
must_fail 'is running' scrub start
[[ $(bounded remapctl status "$VOLUME") == *"scrub "*" read,"* ]] || fail "status does not show it"
wait_for 20 noted 8000 || fail "nothing noted: $(scrub)"
before=$(worker_pid)
kill -0 "$load" || fail "test: the load has ended already: $(cat fio.log)"
kill -9 "$before"
wait_for 10 eval '[ "$(worker_pid)" != "$before" ] && [ "$(worker_pid)" != null ]' ||
  fail "no new worker"
wait_for 5 eval '[ "$(scrub_is state)" = running ]' || fail "it does not go on: $(scrub)"
[ "$(scrub_is done)" -ge $((8000 * SS)) ] || fail "it began anew: $(scrub)"
# It says that it runs a moment before its thread does.
wait_for 10 one_thread_scrubs || fail "threads that scrub: $(scrubbing_threads)"

say "paused, and resumed by the next mount"
scrub pause
assert_eq "$(scrub_is state)" paused "state"
paused_at=$(scrub_is done)
must_fail 'is paused' scrub --wait
wait "$load" || fail "fio: $(cat fio.log)"
grep -qE 'err= *0' fio.log || fail "fio: $(cat fio.log)"
scrub resume --rate 1M
scrub resume
loop_detach
image_restart
assert_eq "$(scrub_is state)" running "state after a restart"
[ "$(scrub_is done)" -ge "$paused_at" ] || fail "it began anew: $(scrub)"
scrub resume --rate 0 --wait >told
grep -q '^scrub done: 6 newly lost, 1 weak (1 moved)' told || fail "it found: $(cat told)"
assert_eq "$(pending_sectors_list)" "140000 150000 150001 150002 150003 190000" "pending"
assert_eq "$(only_in 100005 "$(remapped_sectors_list)")" "" "the weak sector"
sector_read "$IMAGE" 100000 64 >seen
assert_same seen content "the neighbours of the weak sector"
assert_eq "$(events scrub_started) $(events scrub_paused) $(events scrub_done)" "1 1 1" \
  "events of it"

say "what can be read again"
image_restart
inject --sectors 120000 --on read
must_fail 'input/output error' sector_read "$IMAGE" 120000 1
bounded remapctl inject "$VOLUME" clear >inject.log
scrub start --rate 0 --wait >told
grep -q '1 pending cured$' told || fail "it found: $(cat told)"
sector_read "$IMAGE" 120000 1 >/dev/null
# What was lost before this mount may be anything by now.
assert_eq "$(pending_sectors_list)" "140000 150000 150001 150002 150003 190000" "pending still"
image_unmount

say "without a daemon"
inject --sectors 60000 --on read
code=0
timeout -s INT 2 remapctl scrub "$VOLUME" start --rate 1M >told 2>&1 || code=$?
assert_eq "$code" 124 "exit code of timeout"
grep -q 'interrupted; the scrub goes on' told || fail "it said: $(cat told)"
assert_eq "$(scrub_is state) $(scrub_is served)" "running false" "state when interrupted"
[[ $(bounded remapctl status "$VOLUME") == *"scrub "*interrupted* ]] || fail "status does not show it"
scrub resume --rate 0 >told 2>&1
grep -q '^scrub done: 1 newly lost' told || fail "it found: $(cat told)"
assert_eq "$(scrub_is state)" "done" "state at the end"
bounded remapctl check "$VOLUME" || fail "check: $?"
