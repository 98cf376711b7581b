#!/bin/bash
# The history is read with sqlite3 while sectors move: in the order of time,
# in UTC that a person can read; and no statement changes or deletes it.
. "$(dirname "$0")/lib.sh"
requires root loop jq fio

volume_make 64M 16M
image_mount
loop_attach
for _ in 1 2 3 4; do
  inject --random 500 --on write
done
fio --name=load --filename="$R" --direct=1 --rw=randwrite --bs=4k --ioengine=psync --size=64M \
  --time_based --runtime=8 --output=fio.log &
load=$!

sectors_move() {
  [ "$(events remapped)" -gt 10 ]
}
wait_for 20 sectors_move || fail "no remap under load"
seen=0
for _ in $(seq 20); do
  sql 'SELECT id, at, event FROM history ORDER BY id' >rows
  sort -t'|' -k2,2 -s -c rows || fail "not in the order of time"
  rows=$(wc -l <rows)
  [ "$rows" -ge "$seen" ] || fail "the history lost rows: $seen, then $rows"
  seen=$rows
  sleep 0.1
done
say "$seen rows while it grew"
grep -vE '^[0-9]+\|20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z\|[a-z_]+$' rows &&
  fail "rows that a person cannot read"
age=$(sql "SELECT abs(strftime('%s', 'now') - strftime('%s', max(at))) FROM history")
[ "$age" -le 60 ] || fail "the newest row is $age s old, in UTC"

say "no statement changes it, under load"
for statement in \
  "UPDATE history SET event = 'x' WHERE id = 1" \
  "DELETE FROM history" \
  "DELETE FROM history WHERE id = 1" \
  "INSERT OR REPLACE INTO history (id, at, event) VALUES (1, '2020-01-01T00:00:00.000Z', 'x')" \
  "INSERT INTO history (id, at, event) VALUES (999999, strftime('%Y-%m-%dT%H:%M:%fZ'), 'x')" \
  "INSERT INTO history (at, event) VALUES ('2020-01-01T00:00:00.000Z', 'x')" \
  "INSERT INTO history (at, event) VALUES ('yesterday', 'x')" \
  "REPLACE INTO history SELECT * FROM history" \
  "UPDATE OR IGNORE history SET at = at"; do
  before=$(sql 'SELECT * FROM history WHERE id <= 20')
  must_fail 'append-only|order of time' sql "$statement"
  assert_eq "$(sql 'SELECT * FROM history WHERE id <= 20')" "$before" "history after: $statement"
done

say "another writer and the daemon wait for each other"
(
  trap - ERR
  for _ in $(seq 20); do
    bounded sqlite3 -cmd '.timeout 10000' "$VOLUME" "BEGIN IMMEDIATE; SELECT 1; COMMIT" || exit 1
  done
) >writer.log 2>&1 || fail "second writer: $(cat writer.log)"
wait "$load" || fail "the load failed: $(cat fio.log)"
assert_eq "$(events write_failed)" 0 "failed writes"

remapped=$(sql "SELECT sum(sectors) FROM history WHERE event = 'remapped'")
assert_eq "$remapped" "$(status_of .remapped_sectors)" "sectors remapped in the history"
assert_eq "$(bounded remapctl history "$VOLUME" -n | wc -l)" "$(sql 'SELECT count(*) FROM history')" \
  "lines of remapctl history"

loop_detach
image_unmount
for event in created opened faults_added remapped closed; do
  [ "$(events $event)" -ge 1 ] || fail "no $event in the history"
done
must_fail 'append-only' sql 'DELETE FROM history'
