#!/bin/bash
# Contract 13: what makes a request fail is told by status, health, metrics, report and
# doctor alike, with its cause and its remedy, and so is its end. For each kind of trouble:
# all five say ok, the trouble is made, all five say it, it is ended, all five say ok.
. "$(dirname "$0")/lib.sh"
requires root jq fs:ext4 loop mkfs.ext4

# says STATE [TEXT]: whether the five agree on the state, and name the cause.
says() {
  local state=$1 text=${2:-} code=0
  status_of .state >state.seen
  [ "$(cat state.seen)" = "$state" ] && jq -r '.trouble' status.json | grep -q -- "$text" || return 1
  bounded remapctl health --pending-warning 0 -w 0.5 -c 0.5 "$VOLUME" >health.seen || code=$?
  bounded remapctl metrics "$VOLUME" >metrics.seen || return 1
  bounded remapctl report "$VOLUME" >report.seen || return 1
  bounded remapctl doctor "$VOLUME" >doctor.seen || :
  grep -q "remapfs_volume_state{.*state=\"$state\"} 1" metrics.seen || return 1
  grep -q "class=\"badge $state\"" report.seen || return 1
  if [ "$state" = ok ]; then
    [ "$code" -le 1 ] && ! grep -q '^FAIL  *state' doctor.seen
  else
    [ "$code" = 2 ] && grep -q "$state: .*$text" health.seen &&
      grep -q "remapfs_volume_trouble{.*state=\"$state\".*$text" metrics.seen &&
      grep -q "$text" report.seen && grep -q "^FAIL  *state  *$state: .*$text" doctor.seen
  fi
}

# told STATE [TEXT]: within a second and what the commands take.
told() {
  wait_for 6 says "$@" || fail "not told alike: $* ($(cat state.seen): $(jq -c .troubles status.json);
    $(cat health.seen); $(grep state doctor.seen))"
  say "$1: $(jq -r .trouble status.json)"
}

free_slots_of() {
  status_of ".spares[$1].free"
}

# A file system of its own under a file, so that it can be full.
small_fs() { # NAME SIZE
  truncate -s "$2" "$1.ext4"
  mkfs.ext4 -q -m 0 -O ^has_journal "$1.ext4"
  mkdir "$1"
  mount -o loop "$1.ext4" "$1"
}

say "a spare whose server of files is killed, while it holds sectors"
bounded remapctl create -q lower --main lower.img,size=4M --spare lower.spare,size=64K
mkdir lower.mnt
bounded remapfs lower lower.mnt >lower.log 2>&1 </dev/null || fail "lower: $(cat lower.log)"
main_fill 8M
bounded remapctl create -q "$VOLUME" --main "$MAIN" --spare lower.mnt/disk.img,length=1M
inject --sectors 1000-1999 --on write
image_mount
noise content 8
sector_write "$IMAGE" 1000 8 <content
told ok
bounded remapctl status lower --json >lower.json
kill -9 "$(jq .daemon.pid lower.json)" "$(jq .daemon.worker_pid lower.json)"
told failed "spare 1 .*lower.mnt/disk.img"
assert_eq "$(free_slots_of 0)" 0 "free slots of a spare that is gone"
assert_eq "$(status_of .free_slots)" 0 "free slots"
must_fail 'input/output error' sector_read "$IMAGE" 1000 8
sector_read "$IMAGE" 3000 8 >seen || fail "other sectors cannot be read"
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare2.img,size=256K"
told failed "spare 1 "
[ "$(status_of .free_slots)" -gt 64 ] || fail "the second spare lends nothing"
bounded remapctl retire-spare -q --lost "$VOLUME" 1
assert_eq "$(status_of .state)" pending "state once it was given up"
sector_write "$IMAGE" 1000 8 <content
told ok

say "a spare that is cut while mounted"
cp --sparse=never spare2.img kept.img
truncate -s 4096 spare2.img
told failed "spare 2 .*spare2.img"
must_fail 'input/output error' sector_read "$IMAGE" 1000 8
# In its place again, but not known to be what it was: only a new mount looks at it whole.
dd if=kept.img of=spare2.img conv=notrunc status=none
told failed "spare 2 .*is gone"
image_unmount
told ok
image_mount
told ok
sector_read "$IMAGE" 1000 8 | cmp - content || fail "what the spare that came back holds"

say "a stopped worker: one bound for all commands"
told ok
worker=$(worker_pid)
kill -STOP "$worker"
trap 'kill -CONT "$worker" 2>/dev/null || :' EXIT
told failed "stopped (process $worker)"
for command in "status $VOLUME" "health $VOLUME" "metrics $VOLUME" "report $VOLUME" \
  "doctor $VOLUME" "map $VOLUME" "list $VOLUME" "pending $VOLUME" "history $VOLUME" \
  "scrub $VOLUME start" "scrub $VOLUME status" "scrub $VOLUME --wait" "attach $VOLUME" \
  "detach $VOLUME" "upgrade $VOLUME" "mark $VOLUME 5" "unmap $VOLUME 1000" "check $VOLUME" \
  "inject $VOLUME add --sectors 7" "inject $VOLUME list" "retire-spare $VOLUME 2" \
  "add-spare $VOLUME $SCRATCH/spare3.img,size=64K" "set-path $VOLUME --main $MAIN" \
  "export $VOLUME --format csv"; do
  began=$EPOCHSECONDS
  # shellcheck disable=SC2086
  bounded remapctl $command >said 2>&1 && code=0 || code=$?
  took=$((EPOCHSECONDS - began))
  [ "$code" -lt 124 ] || fail "remapctl $command ends with $code"
  [ "$took" -le $((6 * SLOW)) ] || fail "remapctl $command takes $took s"
done
must_fail 'is stopped|does not answer within 5 s' bounded remapctl scrub "$VOLUME" start
must_fail 'is stopped|does not answer within 5 s' bounded remapfs "$VOLUME" "$FS"
kill -CONT "$worker"
trap - EXIT
told ok

say "a worker that died is counted"
kill -9 "$worker"
wait_for 10 eval '[ "$(status_of .daemon.worker_deaths)" = 1 ]' || fail "not counted: $(cat status.json)"
bounded remapctl doctor "$VOLUME" >doctor.seen || :
grep -q 'the worker died 1 time ' doctor.seen || fail "doctor: $(cat doctor.seen)"
bounded remapctl metrics "$VOLUME" | grep -q '^remapfs_worker_deaths_total{.*} 1$' || fail "metrics"

say "a scrub that is under way"
# The one that was asked for while nobody answered may have been carried out since.
wait_for 10 eval 'bounded remapctl scrub "$VOLUME" pause >/dev/null 2>&1 ||
  [ "$(status_of .daemon.scrub.state)" != running ]' || fail "the scrub does not pause"
bounded remapctl scrub "$VOLUME" start --rate 64K
bounded remapctl doctor "$VOLUME" >doctor.seen || :
grep -q 'scrub  *a scrub is under way' doctor.seen || fail "doctor: $(grep scrub doctor.seen)"
bounded remapctl scrub "$VOLUME" pause

say "a request that needs more than there is, with every slot free"
bounded remapctl inject "$VOLUME" clear >cleared
inject --sectors 4000-5999 --on write
free=$(status_of .free_slots)
must_fail 'input/output error' sector_write "$IMAGE" 4000 1024 <<<"$(head -c 524288 /dev/zero | tr '\0' x)"
told full "a write needed 1024, and there were $free"
inject --sectors 6500 --on write
sector_write "$IMAGE" 6500 1 <<<"$(head -c 512 /dev/zero | tr '\0' x)"
told ok
image_unmount

say "main on a file system that is full"
rm -f "$VOLUME"* "$SPARE"
small_fs under 8M
MAIN=$SCRATCH/under/main.img
truncate -s 6M "$MAIN"
bounded remapctl create -q "$VOLUME" --main "$MAIN" --spare "$SPARE,size=1M"
image_mount
dd if=/dev/zero of=under/fill bs=4k status=none 2>/dev/null || :
told ok
noise content 2048
must_fail 'no space' sector_write "$IMAGE" 4000 2048 <content
told full "file system that holds main"
rm under/fill
told ok
sector_write "$IMAGE" 4000 2048 <content
image_unmount

say "a spare on a file system that is full"
rm -f "$VOLUME"*
rm under/main.img
MAIN=$SCRATCH/main.img
bounded remapctl create -q "$VOLUME" --main "$MAIN" --spare "$SCRATCH/under/spare.img,size=2M"
inject --sectors 1000-1999 --on write
# Sparse below its slots, as a snapshot or a copy with holes is.
fallocate -p -o 256K -l 1M under/spare.img
image_mount
dd if=/dev/zero of=under/fill bs=4k status=none 2>/dev/null || :
for ((i = 1000; i < 1999; i += 8)); do
  sector_write "$IMAGE" "$i" 8 <content || break
done
told full "file system that holds spare 1"
assert_eq "$(status_of '.spares[0].bad')" 0 "bad slots"
rm under/fill
told ok
sector_write "$IMAGE" 1990 8 <content
image_unmount
