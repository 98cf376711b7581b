#!/bin/bash
# The JSON of every command is as docs/schema/ says.
. "$(dirname "$0")/look.sh"
requires python3 python3-jsonschema jq

# valid SCHEMA COMMAND...: also where it ends with a code that says something.
valid() {
  local schema=$1
  shift
  echo "$schema" >>"$SCRATCH/seen-schemas"
  bounded "$@" >document 2>said || [ ! -s said ] || fail "'$*': $(cat said)"
  bounded "$PYTHON" "$TESTS/validate.py" "$SCHEMAS/$schema.json" <document ||
    fail "'$*' is not as docs/schema/$schema.json"
}

# wrong SCHEMA JQ: the last document, changed so, is refused.
wrong() {
  jq "$2" document >changed
  ! cmp -s <(jq . document) changed || fail "'$2' changes nothing"
  ! "$PYTHON" "$TESTS/validate.py" "$SCHEMAS/$1.json" <changed 2>/dev/null ||
    fail "docs/schema/$1.json allows: $2"
}

everything() {
  valid status remapctl status -J v.db
  wrong status 'del(.main.sectors)'
  wrong status '.spares[0].id = "1"'
  wrong status '.daemon.running = true'
  wrong status '.more = 1'
  valid list remapctl list -J v.db
  wrong list '.remaps[0].sectors = 0'
  valid list remapctl list -J -o +sequence v.db
  valid pending remapctl pending -J v.db
  wrong pending '.pending[0].at = "yesterday"'
  valid history remapctl history -J v.db
  wrong history 'del(.history[0].event)'
  valid history remapctl history -J -o +id v.db
  valid map remapctl map -J v.db
  wrong map '.main.not_good[0].state = "worse"'
  wrong map 'del(.spares[0].id)'
  valid doctor remapctl doctor -J v.db
  wrong doctor '.checks[0].result = "maybe"'
  valid doctor remapctl doctor -J
  valid doctor remapctl doctor -J nowhere.db
  valid inject-list remapctl inject v.db list -J
  wrong inject-list '.faults[0] = {}'
  valid scrub remapctl scrub -J v.db
  wrong scrub '.scrub.state = "begun"'
  valid export remapctl export -f json v.db
  wrong export '.bad_sectors[0].state = "good"'
}

mkdir past empty damaged
(cd past && volume_with_a_past && remapctl inject v.db add --sectors 3,9 --on read >added &&
  remapctl inject v.db add --sectors 7 --times 2 >added && everything)
# Without a row in any table, and with paths that are no UTF-8.
cd empty
volume_make v.db 1M 64K
for command in status list pending history map; do
  valid $command remapctl $command -J v.db
done
valid inject-list remapctl inject v.db list -J
valid check remapctl check -J v.db
valid export remapctl export -f json v.db
bounded remapctl scrub -q v.db start
valid scrub remapctl scrub -J v.db
cd ../damaged
name=$'\xff"\\\n.db'
volume_make "$name" 1M 64K
valid status remapctl status -J "$name"
valid map remapctl map -J "$name"
valid doctor remapctl doctor -J "$name"
# The first of the two superblocks.
dd if=/dev/zero of=spare1.img bs=4096 count=1 conv=notrunc status=none
valid check remapctl check -J "$name"
[ "$(jq '.findings | length' document)" -gt 0 ] || fail "the damage was not found"
wrong check '.findings[0].fate = "unknown"'

# No command has a --json that nobody looked at here, and no schema is left over.
for command in $(commands); do
  ! remapctl "$command" --help | grep -q -- '--json' || echo "$command"
done >expected
printf '%s\n' inject-list export >>expected
diff -u --label '--json' --label schemas <(sort -u expected) <(sort -u "$SCRATCH/seen-schemas") ||
  fail "a --json was not compared with a schema (above)"
diff -u --label '--json' --label docs/schema <(sort -u expected) \
  <(cd "$SCHEMAS" && printf '%s\n' *.json | sed 's/\.json$//' | sort) || fail "docs/schema/ has others (above)"

echo "every document is as its schema says"
