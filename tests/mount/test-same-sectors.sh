#!/bin/bash
# Many writers of the same few sectors, with fewer threads than writers: whoever
# waits for a range must not keep anybody from answering who holds it.
. "$(dirname "$0")/lib.sh"
requires fio jq

volume_make 16M 2M
# WRITERS THREADS
for case in "3 1" "32 2" "96 4" "96 32"; do
  set -- $case
  say "$1 writers, $2 threads"
  image_mount -o threads="$2"
  # Some of them fail and move, and one is held longer than the others.
  inject --sectors 1 --on write --times 1
  inject --sectors 9 --on both --errno none --delay 40
  BOUND=60 bounded fio --name=same --filename="$IMAGE" --rw=randrw --bs=512 --size=8k --direct=1 \
    --ioengine=psync --thread --numjobs="$1" --time_based --runtime=3 --group_reporting \
    --output=fio.json --output-format=json || fail "fio: $(tail -c 500 fio.json)"
  assert_eq "$(jq -r '[.jobs[].error] | add' fio.json)" 0 "errors"
  bounded remapctl inject "$VOLUME" clear >inject.log
  image_unmount
done
bounded remapctl check "$VOLUME" || fail "check: $?"
