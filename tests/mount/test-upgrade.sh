#!/bin/bash
# An upgrade to a program that cannot go on: it is asked first, and the mount lives.
LIMIT=300
. "$(dirname "$0")/lib.sh"
. "$TESTS/workers.sh"
requires jq flock sqlite3
requires_resend

# install_program NAME <PROGRAM: remapfs was started from a path of its own, whose file may be replaced.
install_program() {
  cat >"$1/new"
  chmod +x "$1/new"
  mv "$1/new" "$1/remapfs"
}

refused() { # REGEX
  must_fail "not upgraded.*$1" bounded remapctl upgrade "$VOLUME"
  sector_read "$IMAGE" 200 8 | cmp - on-main || fail "not served after that"
}

start() { # NAME
  mkdir -p "$1" "mnt.$1"
  install_program "$1" <"$BUILD/remapfs"
  VOLUME=$SCRATCH/volume.$1 MAIN=$SCRATCH/main.$1 SPARE=$SCRATCH/spare.$1 MNT=$SCRATCH/mnt.$1
  IMAGE=$MNT/disk.img
  volume_make 16M 256K
  PATH=$SCRATCH/$1:$PATH image_mount
  sector_write "$IMAGE" 200 8 <on-main
}

noise on-main 8

# That takes as long as a program may: meanwhile the others.
start late
install_program late <<<$'#!/bin/sh\nexec sleep 100'
bounded remapctl upgrade "$VOLUME" >late.log 2>&1 &
late=$!
late_volume=$VOLUME late_worker=$(worker_pid)

say "it is none, or does not say that it can"
start bin
worker=$(worker_pid) supervisor=$(daemon_pid)
install_program bin <<<'not a program'
refused 'remapfs'
install_program bin <<<$'#!/bin/sh\nexit 3'
refused 'code 3'
rm bin/remapfs
refused 'cannot open'
assert_eq "$(worker_pid)" "$worker" "worker"

say "one that says it can, and then does not serve: the former program goes on"
install_program bin <<<$'#!/bin/sh\ncase "$*" in *--probe*) exit 0 ;; esac\nexit 7'
refused 'code 7'
[ "$(worker_pid)" != "$worker" ] || fail "the same worker"
say "also when that one dies, whatever lies at its path by now"
replace_worker
sector_read "$IMAGE" 200 8 | cmp - on-main

say "one that can"
install_program bin <"$BUILD/remapfs"
worker=$(worker_pid)
bounded remapctl upgrade "$VOLUME" >/dev/null
[ "$(worker_pid)" != "$worker" ] || fail "the same worker"

# The worker dies while that program is asked, and the next one has to wait: it has served
# nobody, and would not end in order. It gives way once it serves.
say "a worker that only waits does not give way"
install_program bin <<<$'#!/bin/sh\ncase "$*" in *--probe*) : >'"$SCRATCH"$'/asked
  while [ ! -e '"$SCRATCH"$'/answer ]; do sleep 0.1; done; : >'"$SCRATCH"$'/answered; exit 0 ;; esac
exec '"$BUILD"'/remapfs "$@"'
worker=$(worker_pid)
bounded remapctl upgrade "$VOLUME" >upgrade.log 2>&1 &
upgrade=$!
wait_for 30 test -e asked || fail "the program is not asked"
mv "$VOLUME" away
kill -9 "$worker"
# The one that is asked is a child as well.
waiting() {
  local child
  for child in $(cat "/proc/$supervisor/task/$supervisor/children"); do
    ! cat "/proc/$child/cmdline" 2>/dev/null | tr '\0' ' ' | grep -q -- '--worker .* -- ' || echo "$child"
  done
}
one_waits() {
  [ "$(waiting | wc -w)" = 1 ] && [ "$(waiting)" != "$worker" ]
}
wait_for 30 one_waits || fail "no worker waits: $(waiting)"
before=$(waiting)
touch answer
wait_for 30 test -e answered || fail "the program does not answer"
sleep 1
assert_eq "$(waiting)" "$before" "the worker that waits"
mv away "$VOLUME"
sector_read "$IMAGE" 200 8 | cmp - on-main || fail "not served after that"
# Which of them the command saw does not matter.
wait "$upgrade" || grep -q 'not upgraded' upgrade.log || fail "upgrade: $(cat upgrade.log)"
gave_way() {
  [[ $(worker_pid) =~ ^[0-9]+$ ]] && [ "$(worker_pid)" != "$before" ]
}
wait_for 30 gave_way || fail "it does not give way when it serves"
sector_read "$IMAGE" 200 8 | cmp - on-main || fail "not served after that"
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
image_unmount

say "one that does not answer in time"
! wait "$late" || fail "upgraded to a program that does not answer"
grep -q 'not upgraded.*in time' late.log || fail "upgrade: $(cat late.log)"
VOLUME=$late_volume MNT=$SCRATCH/mnt.late
sector_read "$MNT/disk.img" 200 8 | cmp - on-main || fail "not served after that"
assert_eq "$(worker_pid)" "$late_worker" "worker"
image_unmount
