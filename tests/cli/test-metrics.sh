#!/bin/bash
# The metrics are what Prometheus reads, whatever the paths are, and a file of
# them is whole at every moment.
. "$(dirname "$0")/look.sh"
requires python3 jq

parse() {
  bounded "$PYTHON" "$TESTS/exposition.py"
}

# value JQ_CONDITION: of the one sample of ./samples for which it holds.
value() {
  jq -c "select(.[0] == \"$1\") | select(.[1] | ${2:-true}) | .[2]" samples
}

reader_is_strict() {
  local good=$'# HELP remapfs_a A.\n# TYPE remapfs_a gauge\nremapfs_a{v="x"} 1\n'
  printf '%s' "$good" | parse >parsed || fail "the reader refuses what is right"
  local change
  for change in 's/^# HELP.*//' 's/gauge/counter/' 's/ 1$/ one/' 's/"x"/"x\\y"/' 's/"x"/"x/' \
    's/remapfs_a{/remapfs_b{/' 's/{v=/{1=/' 's/^\(remapfs_a.*\)/\1\n\1/' 's/remapfs/other/' \
    's/"x"/"x",v="y"/' 's/ 1$/ 1 /' 's/$/\r/'; do
    ! sed "$change" <<<"${good%$'\n'}" | parse >parsed 2>&1 || fail "the reader allows $change"
  done
  ! printf 'remapfs_a 1' | parse >parsed 2>&1 || fail "the reader allows a missing newline"
  ! printf '# HELP remapfs_a \xff\n' | parse >parsed 2>&1 || fail "the reader allows no UTF-8"
}

figures() {
  volume_with_a_past
  remapctl metrics v.db | parse >samples || fail "not the exposition format"
  [ "$(value remapfs_remapped_sectors)" = 17 ] || fail "remapped: $(value remapfs_remapped_sectors)"
  [ "$(value remapfs_pending_sectors)" = 4 ] || fail "pending"
  [ "$(value remapfs_spare_bad_slots '.spare == "1"')" = 12 ] || fail "bad slots"
  [ "$(value remapfs_volume_state '.state == "pending"')" = 1 ] || fail "state"
  [ "$(value remapfs_volume_state '.state == "ok"')" = 0 ] || fail "state ok"
  [ "$(value remapfs_daemon_up)" = 0 ] || fail "daemon"
  [ "$(value remapfs_events_total '.event == "remapped"')" = 9 ] || fail "events"
  [ "$(jq -s 'map(select(.[0] == "remapfs_events_total") | .[2]) | add' samples)" = \
    "$(sqlite3 v.db 'SELECT count(*) FROM history')" ] || fail "events are left out"
}

# A name with everything that has to be escaped, and what is unsafe to print.
hostile() {
  local name=$'a"b\\c\nd{}\xff.db'
  (
    mkdir hostile && cd hostile
    volume_make "$name" 1M 64K
    # Anybody may add a row to a history.
    sqlite3 "$name" "INSERT INTO history (at, event) SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now',
      '+1 second'), 'x' || char(10) || 'remapfs_fake 1' || value FROM generate_series(1, 100)"
    remapctl metrics "$name" | parse >samples || fail "not the exposition format"
    [ "$(value remapfs_pending_sectors "(.volume | endswith(\"a\\\"b\\\\c?d{}?.db\"))")" = 0 ] ||
      fail "the label is $(jq -c 'select(.[0] == "remapfs_pending_sectors")' samples)"
    [ "$(value remapfs_events_total '.event == "other"')" = 100 ] || fail "strange events"
  )
}

# Readers see the one before or the new one, also when there is no room.
atomic() {
  local i
  : >stop
  remapctl metrics -o out.prom v.db
  [ "$(stat -c %a out.prom)" = "$(printf '%o' $((0666 & ~0$(umask))))" ] || fail "mode of out.prom"
  cmp out.prom <(remapctl metrics v.db) || fail "-o writes something else"
  cmp out.prom <(remapctl metrics -o - v.db) || fail "-o - writes something else"
  (while [ -e stop ]; do parse <out.prom >parsed || echo torn >>torn; done) &
  for i in $(seq 30); do
    remapctl metrics -o out.prom v.db
  done
  rm stop
  wait
  [ ! -e torn ] || fail "half a file was seen"
  ln -s out.prom link.prom
  remapctl metrics -o link.prom v.db
  [ -L link.prom ] || fail "a link was replaced"
  cp out.prom before
  ! (ulimit -f 1 && trap '' XFSZ && remapctl metrics -o out.prom v.db) 2>said ||
    fail "a file that is too large was written"
  grep -q '; ' said || fail "no remedy: $(cat said)"
  cmp before out.prom || fail "a failure changed the file"
  [ "$(find . -name '*.prom.*' -o -name '.remapfs-*')" = "" ] || fail "left behind: $(ls -A)"
}

# Nothing of the volume is overwritten, by whatever name.
kept() {
  local name
  sha256sum v.db main.img spare1.img >sums
  ln -s v.db as.prom
  ln main.img hard.prom
  for name in v.db main.img spare1.img spare2.img as.prom hard.prom .; do
    ! remapctl metrics -o "$name" v.db 2>said || fail "$name was overwritten"
    ! remapctl report -o "$name" v.db 2>said || fail "$name was overwritten"
  done
  sha256sum -c --quiet sums || fail "a file of the volume changed"
}

reader_is_strict
figures
hostile
atomic
kept
echo "$(wc -l <samples) samples"
