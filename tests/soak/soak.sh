#!/bin/bash
# A long time of everything at once, by hand:
#
#     sudo tests/soak/soak.sh [SECONDS [BUILD_DIRECTORY]]          an hour by default
#
# Two loads that verify what they read write to disk.img, sectors go bad under
# them, a scrub reads all of it again and again, status is polled, and the worker
# is killed every 20 s. In the end memory and descriptors must be what they were
# after the first third, no load may have seen an error, and the history must
# have every worker and every remap.
if [ -z "${SOAK_SECONDS:-}" ]; then
  export SOAK_SECONDS=${1:-3600}
  shift || :
fi
LIMIT=$((SOAK_SECONDS + 300))
. "$(dirname "$0")/../mount/lib.sh"
requires root jq fio sqlite3

KILL_EVERY=20
SECTORS_AT_ONCE=8

volume_make 128M 32M
image_mount
started=$SECONDS
end=$((SECONDS + SOAK_SECONDS))
supervisor=$(daemon_pid)

running() {
  [ "$SECONDS" -lt "$end" ] && [ ! -e failed ]
}

# What ends the others as well.
wrong() {
  echo "$*" >>failed
}

# load NAME OFFSET: writes at random, reads back, compares; in pieces of some seconds.
load() {
  local runs=0
  while running; do
    BOUND=120 bounded fio --name="$1" --filename="$IMAGE" --offset="$2" --size=64M --rw=randrw \
      --bsrange=512-64k --blockalign=512 --direct=1 --ioengine=psync --verify=crc32c \
      --verify_backlog=64 --verify_fatal=1 --time_based --runtime=8 --randrepeat=0 \
      --output="$1.log" --output-format=json || {
      wrong "load $1: $(tail -c 2000 "$1.log")"
      return
    }
    jq -r '.jobs[0] | "\(.write.total_ios) \(.read.total_ios)"' "$1.log" >>"$1.done"
    runs=$((runs + 1))
  done
}

poll_status() {
  local polls=0 longest=0 began took
  while running; do
    began=$(date +%s%N)
    # No worker, for a moment: that is told as well.
    bounded remapctl status "$VOLUME" >/dev/null 2>&1 || [ $? = 1 ] || wrong "status failed"
    took=$((($(date +%s%N) - began) / 1000000))
    [ "$took" -le "$longest" ] || longest=$took
    polls=$((polls + 1))
    echo "$polls $longest" >polled
    sleep 0.5
  done
}

keep_scrubbing() {
  while running; do
    bounded remapctl scrub "$VOLUME" start -q --rate 0 >scrub.log 2>&1 && echo >>scrubbed || :
    sleep 5
  done
}

# figure PID FIELD: kB.
figure() {
  sed -n "s/^$2:[[:space:]]*\([0-9]*\).*/\1/p" "/proc/$1/status"
}

sample() { # WORKER
  echo "$((SECONDS - started)) $(figure "$1" VmRSS) $(ls "/proc/$1/fd" | wc -l)" \
    "$(figure "$supervisor" VmRSS) $(ls "/proc/$supervisor/fd" | wc -l)" >>samples
}

next_worker() { # BEFORE
  local now
  now=$(status_of '.daemon.worker_pid // empty' 2>/dev/null) && [ -n "$now" ] && [ "$now" != "$1" ]
}

# Sets worker. That none has died by itself shows in the end, by the openings.
answers() {
  worker=$(status_of '.daemon.worker_pid // empty' 2>/dev/null) && [ -n "$worker" ] && return
  echo >>silent
  # What it does instead, for who has to find out.
  cat /proc/loadavg >&2
  threads_of "$supervisor" >&2
  return 1
}

load low 0 &
load high 64M &
poll_status &
keep_scrubbing &
# Where the machine has much else to do, the daemon may not answer in time: the
# faults are there then, and are told it with the next ones.
more_faults() {
  bounded remapctl inject "$VOLUME" add --random $SECTORS_AT_ONCE --on write >inject.log 2>&1 && return
  grep -q 'did not answer in time' inject.log || wrong "inject: $(cat inject.log)"
  echo >>late
  running || return 0
  return 1
}

kills=0
while running; do
  wait_for 60 more_faults || wrong "inject: $(cat inject.log)"
  sleep $KILL_EVERY
  wait_for 60 answers || wrong "no worker answers"
  running || break
  # The same age each time, so that the figures can be compared.
  sample "$worker"
  kill -9 "$worker"
  kills=$((kills + 1))
  wait_for 30 next_worker "$worker" || wrong "no worker follows number $kills"
done
wait
[ ! -e failed ] || fail "$(cat failed)"

bounded remapctl scrub "$VOLUME" pause >/dev/null 2>&1 || :
image_unmount
bounded remapctl check "$VOLUME" >check.log || fail "check: $(cat check.log)"
assert_eq "$(events opened)" $((kills + 1)) "openings in the history"
assert_eq "$(events gave_up)" 0 "times that the supervisor gave up"
assert_eq "$(sql 'SELECT count(*) FROM pending')" 0 "pending sectors"
assert_eq "$(sql 'SELECT count(*) FROM history a JOIN history b ON b.id = a.id + 1 WHERE b.at < a.at')" 0 \
  "events out of order"
assert_eq "$(sql "SELECT count(*) FROM remap r WHERE NOT EXISTS (SELECT 1 FROM history h WHERE
  h.spare_id = r.spare_id AND h.main_sector < r.main_sector + r.sectors AND
  r.main_sector < h.main_sector + h.sectors)")" 0 "remaps without an event"
assert_only_bad_moved

say "$((SECONDS - started)) s, $kills workers killed, $(wc -l <scrubbed) scrubs begun"
say "writes and reads verified: $(cat low.done high.done | awk '{ w += $1; r += $2 } END { print w, r }')"
say "remapped sectors: $(sql 'SELECT coalesce(sum(sectors), 0) FROM remap') of $(sql \
  'SELECT sum(sectors) FROM fault') bad ones; events: $(sql 'SELECT count(*) FROM history')"
[ ! -e late ] || say "inject: $(wc -l <late) times the daemon did not answer within 5 s, and then it did"
[ ! -e silent ] || say "status: $(wc -l <silent) times no worker answered, and then one did"
say "status: $(cut -d' ' -f1 polled) times, the longest took $(cut -d' ' -f2 polled) ms"

# Medians of the first third, but for what warms up, and of the last: KiB or descriptors.
compare() { # COLUMN WHAT SLACK
  local count third first last
  count=$(wc -l <samples)
  third=$((count / 3))
  [ "$third" -ge 1 ] || third=1
  first=$(head -n "$third" samples | cut -d' ' -f"$1" | sort -n | sed -n "$(((third + 1) / 2))p")
  last=$(tail -n "$third" samples | cut -d' ' -f"$1" | sort -n | sed -n "$(((third + 1) / 2))p")
  say "$2: $first at first, $last in the end"
  [ "$last" -le $((first + $3)) ] || fail "$2 grow: $(cut -d' ' -f"1,$1" samples | tr '\n' ';')"
}
compare 2 "KiB of the worker" 4096
compare 3 "descriptors of the worker" 1
compare 4 "KiB of the supervisor" 512
compare 5 "descriptors of the supervisor" 0
