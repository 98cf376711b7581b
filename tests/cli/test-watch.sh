#!/bin/bash
# remapctl status --watch: again and again, until Ctrl-C, which is its end.
. "$(dirname "$0")/look.sh"
requires script jq

# watch CODE FRAMES SIGNAL COMMAND...: what it prints goes to ./frames.
watch() {
  local expected=$1 frames=$2 signal=$3 code=0 pid end=$((SECONDS + 50))
  shift 3
  : >frames
  # A shell ignores SIGINT for what it puts in the background; this undoes that.
  "$PYTHON" -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' "$@" >frames 2>said &
  pid=$!
  until [ "$(grep -c '^state\|^   "state"' frames)" -ge "$frames" ] || [ "$SECONDS" -ge "$end" ]; do
    sleep 0.1
  done
  [ "$SECONDS" -lt "$end" ] || fail "$(grep -c state frames) pictures: $(cat said)"
  kill -"$signal" "$pid"
  wait "$pid" || code=$?
  [ "$code" = "$expected" ] || fail "'$*' ends with $code after SIG$signal"
  [ ! -s said ] || fail "'$*' says: $(cat said)"
}

requires python3
volume_with_a_past

watch 0 2 INT remapctl status --watch=1 v.db
! grep -q $'\033' frames || fail "escapes where no terminal is"
[ "$(grep -c '^volume ' frames)" -ge 2 ] || fail "one picture only"
watch 0 2 TERM remapctl status -w1 v.db

watch 0 2 INT remapctl status --json --watch=1 v.db
jq -se 'length >= 2 and all(.state == "pending")' frames >/dev/null || fail "not JSON after JSON"

# What changes meanwhile is in the next picture.
remapctl status --watch=1 v.db >frames 2>said &
pid=$!
sleep 1
echo 'pending 10 1 0 0' | fill v.db
end=$((SECONDS + 30))
until grep -q '^pending *5 sectors' frames || [ "$SECONDS" -ge "$end" ]; do
  sleep 0.1
done
kill "$pid"
grep -q '^pending *5 sectors' frames || fail "the picture stays as it was"
wait "$pid" || fail "SIGTERM is no failure"

# On a terminal it is drawn in its place. A busy machine needs more time for two pictures.
for seconds in 2.5 10 40; do
  TERM=xterm bounded script -qec "timeout -s INT $seconds remapctl status --watch=1 v.db" /dev/null \
    </dev/null >screen || [ $? = 124 ] || fail "exit code on a terminal"
  drawn=$(grep -c $'\033\[H\033\[J' screen || :)
  [ "$drawn" -lt 2 ] || break
done
[ "$drawn" -ge 2 ] || fail "not drawn anew on a terminal"

# When nobody can read it, or the volume has gone, it ends.
! bounded remapctl status --watch=1 v.db >/dev/full 2>said || fail "goes on without output"
code=0
(remapctl status --watch=1 v.db >frames 2>said || echo $? >code) &
sleep 1
mv v.db elsewhere.db
wait
grep -qx 1 code || fail "the end is $(cat code)"
grep -q "cannot open volume.*; " said || fail "says: $(cat said)"
echo "it watches, and ends"
