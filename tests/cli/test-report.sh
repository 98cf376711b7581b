#!/bin/bash
# The page of remapctl report: well-formed, on its own, and with what the volume
# holds, from nothing to 100,000 remaps, whatever the paths are.
. "$(dirname "$0")/look.sh"
requires python3 jq sqlite3

page() {
  bounded "$PYTHON" "$TESTS/page.py" <"$1" >shown || fail "$1 is no good page (above)"
}

# shows JQ EXPECTED
shows() {
  [ "$(jq -c "$1" shown)" = "$2" ] || fail "$1 is $(jq -c "$1" shown) instead of $2"
}

checker_is_strict() {
  local change
  for change in 's|<main>|<main><img src="x.png"/>|' 's|</main>||' 's|<main>|<main><p onclick="x()">y</p>|' \
    's|--page: #f6f7f9|background: url(//x/y)|' "s|default-src 'none'|default-src *|" \
    's|"use strict";|fetch("/x");|' 's|<main>|<main>\&nbsp;|' 's|<h2>The disk|<h2><br>The disk|' \
    's|id="all"|id="in"|'; do
    sed "$change" r.html >changed.html
    ! cmp -s r.html changed.html || fail "'$change' changes nothing"
    ! "$PYTHON" "$TESTS/page.py" <changed.html >shown 2>&1 || fail "the checker allows $change"
  done
}

with_a_past() {
  volume_with_a_past
  remapctl report -o r.html v.db
  page r.html
  shows .title "\"$SCRATCH/v.db - remapfs\""
  shows '.facts[0:2]' "[\"$SCRATCH/v.db\",\"$SCRATCH/main.img\"]"
  # 8192 sectors are blocks of 4.
  shows .blocks '{"c1":10,"c2":1,"c3":1}'
  shows .tables '[2,9,15]'
  shows '.extents | .sectors, .columns, .step' $'8192\n80\n1'
  # [0], [100, 107], … as difference to the end of the one before, and the state.
  shows '.extents.extents[0:9]' '[0,1,1,99,8,1,3892,1,1]'
  shows '[.extents.extents | _nwise(3) | .[1]] | add' 21
  shows '.tiles[0:2]' '["17sectors remapped","4sectors pending"]'
  checker_is_strict
}

# Nothing has happened yet.
empty() {
  (
    mkdir empty && cd empty
    volume_make v.db 1M 64K
    remapctl report v.db >r.html
    page r.html
    shows .blocks '{"c1":0,"c2":0,"c3":0}'
    shows .tables '[1]'
    shows .extents.extents '[]'
  )
}

hostile() {
  local name=$'<script>alert(1)<\'&amp;"]]>\001\xff.db'
  (
    mkdir hostile && cd hostile
    volume_make "$name" 1M 64K
    sqlite3 "$name" "INSERT INTO history (at, event, error, detail) VALUES (strftime(
      '%Y-%m-%dT%H:%M:%fZ', 'now', '+1 second'), '</td><script>alert(2)</script>', ']]>', '<!--' ||
      char(65534, 8, 0x202e) || '\" onload=\"x')"
    remapctl report -o r.html ./*.db
    page r.html
    shows '.facts[0] | endswith("<script>alert(1)<'"'"'&amp;\"]]>??.db")' true
    ! grep -q '<script>alert' r.html || fail "a script of somebody else's"
  )
}

# However many there are, the page has its bound, and shows them.
many() {
  (
    mkdir many && cd many
    volume_make v.db 64G 64M
    echo 'remap 1000 1 1 0 1300 100000' | BOUND=120 fill v.db
    remapctl report -o r.html v.db
    page r.html
    [ "$(stat -c %s r.html)" -lt 1500000 ] || fail "the page has $(stat -c %s r.html) bytes"
    shows '.tables' '[1000,300]'
    shows '.extents.extents | length <= 60000' true
    shows '.extents.step > 1' true
    # Whatever is bad is in an extent: the first, the last, and none behind.
    shows '.extents | [.extents | _nwise(3)] | reduce .[] as $e ({at: 0, bad: 0};
      .at += $e[0] + $e[1] | .bad += $e[1]) | .at >= 129999701, .at <= 130001024, .bad >= 100000' \
      $'true\ntrue\ntrue'
  )
}

# Two states in what is rounded to one: the worse is shown.
rounded_to_the_worse() {
  (
    mkdir rounded && cd rounded
    volume_make v.db 64G 64M
    printf '%s\n' 'remap 1000 1 1 0 1300 100000' 'pending 1001 1 0 0' | BOUND=120 fill v.db
    remapctl report -o r.html v.db
    page r.html
    shows '[.extents.extents | _nwise(3) | select(.[2] == 2)] | length' 1
  )
}

with_a_past
empty
hostile
many
rounded_to_the_worse
echo "five pages are in order"
