#!/bin/bash
# Scenario 16: main takes seconds to fail each write (and read). Every request is
# answered within its bound (docs/guarantees.md), other sectors stay usable, and
# remapctl status answers, also while all threads are stuck.
#
# A bound has room for a machine whose cores are busy. What does not wait for slow
# requests at all is not measured by the clock: it is answered several times before they are.
. "$(dirname "$0")/lib.sh"
requires jq

ROOM=$((5000 * SLOW))

now_ms() {
  echo $(($(date +%s%N) / 1000000))
}

# timed NAME EXPECTED COMMAND...: in the background; "name ms" goes to took.
timed() {
  local name=$1 expected=$2 begin code=0
  shift 2
  begin=$(now_ms)
  "$@" >/dev/null 2>&1 || code=1
  echo "$name $(($(now_ms) - begin))" >>took
  [ "$code" = "$expected" ] || echo "$name: exit code $code" >>wrong
}

took() {
  awk -v name="$1" '$1 == name && $2 > most { most = $2 } END { print most + 0 }' took
}

within() { # NAME MS, what the guarantees say
  local most
  most=$(took "$1")
  say "$1: $most ms at most, guaranteed $2 ms"
  [ "$most" -gt 0 ] && [ "$most" -le $(($2 + ROOM)) ] || fail "$1 took $most ms, not $2"
}

# Those that were answered before the slow ones were.
meanwhile() { # NAME TIMES
  local times
  times=$(grep -c "^$1 " took.meanwhile || :)
  say "$1: answered $times times meanwhile"
  [ "$times" -ge "$2" ] || fail "$1 was answered $times times while others were slow"
}

# Writes and reads elsewhere, and asks for the status, until there is "stop".
elsewhere() {
  while [ ! -e stop ]; do
    timed other 0 sector_write "$IMAGE" 30000 8 <content
    timed other 0 sector_read "$IMAGE" 30000 8
    sleep 0.05
  done
}

looking() {
  while [ ! -e stop ]; do
    timed status 0 bounded remapctl status "$VOLUME" --json
    sleep 0.1
  done
}

beside() { # WHAT...
  local what
  rm -f stop wrong took
  : >took
  for what; do
    (trap - ERR; "$what") &
  done
}

settled() {
  cp took took.meanwhile
  touch stop
  wait
  [ ! -e wrong ] || fail "$(sort wrong | uniq -c)"
}

zero_range() {
  bounded fallocate -z -o $((48000 * SS)) -l $((4096 * SS)) "$IMAGE"
}

main_fill 32M
volume_make 32M 8M
noise content 8
noise large 2048
# 2048 sectors to be written, 2048 to be read, one of each alone.
inject --sectors 2048-4095,1000 --on write --delay 4000
inject --sectors 8192-10239,11000 --on read --delay 4000
image_mount -o isolation_ms=4000

say "4 s an attempt"
beside elsewhere looking
(
  timed write-1M 0 sector_write "$IMAGE" 2048 2048 <large &
  timed write-one 0 sector_write "$IMAGE" 1000 1 <content &
  timed read-1M 1 sector_read "$IMAGE" 8192 2048 &
  timed read-one 1 sector_read "$IMAGE" 11000 1 &
  wait
)
settled
# The time to find out, 4 s, and the attempt that is under way when it ends.
for request in write-1M write-one read-1M read-one; do
  within "$request" 8000
done
meanwhile other 4
meanwhile status 2
sector_read "$IMAGE" 2048 2048 | cmp - large || fail "what was written to slow sectors"
assert_eq "$(status_of .daemon.main_failed)" false "main_failed"
assert_eq "$(pending_sectors_list)" 11000 "pending sectors"
assert_eq "$(events device_failed)" 0 "device_failed in the history"
image_unmount

# The kernel lets no write pass a fallocate on the same file: they wait for it.
say "zeroing 2 MiB, 2 s an attempt"
bounded remapctl inject "$VOLUME" clear >/dev/null
inject --sectors 48000-52095 --on write --delay 2000
image_mount -o isolation_ms=2000
reading() {
  while [ ! -e stop ]; do
    timed read-meanwhile 0 sector_read "$IMAGE" 30000 8
    sleep 0.05
  done
}
beside looking
(
  timed zero-2M 1 zero_range &
  sleep 0.5
  (trap - ERR; reading) &
  timed write-meanwhile 0 sector_write "$IMAGE" 30000 8 <content
  wait %1
  cp took took.zero
  touch stop
  wait
)
settled
cp took.zero took.meanwhile
# Main is asked to zero it, and then to write a first piece.
within zero-2M 6000
within write-meanwhile 6000
meanwhile read-meanwhile 2
meanwhile status 1
image_unmount

say "all threads stuck"
inject --sectors 20000-20063 --on both --delay 2000
image_mount -o threads=4,isolation_ms=2000
beside looking
(
  for i in 0 1 2 3 4 5 6 7; do
    timed stuck 0 sector_write "$IMAGE" $((20000 + i)) 1 <content &
  done
  sleep 1
  timed behind 0 sector_read "$IMAGE" 30000 8
  wait
)
settled
# Eight for four threads: two turns, each as long as above.
within stuck 8000
within behind 8000
meanwhile status 2
image_unmount
