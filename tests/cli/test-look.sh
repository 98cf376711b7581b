#!/bin/bash
# What the commands that look at a volume print: tables, JSON, and errors.
. "$(dirname "$0")/look.sh"

volume_with_a_past

map() {
  expect map-ascii 0 remapctl map v.db
  expect map-blocks 0 env LC_ALL=C.UTF-8 remapctl map --width 60 --rows 4 v.db
  expect map-letters 0 env LC_ALL=C.UTF-8 remapctl map --ascii --width 60 --rows 4 v.db
  expect map-color 0 remapctl map --color=always --width 40 --rows 2 v.db
  expect map-json 0 remapctl map -J --width 40 --rows 1 v.db
  expect map-bad-color 2 remapctl map --color=green v.db
  expect map-bad-width 2 remapctl map --width 10 v.db
  expect map-no-volume 1 remapctl map nowhere.db
}

# No line of it is wider than it was told, and a cell for every sector at most.
map_fits() {
  local width lines
  for width in 40 41 79 132 1000; do
    lines=$(remapctl map --ascii --width "$width" --rows 3 v.db | grep -E '^ +[0-9]+  [.rPX]')
    awk -v width="$width" 'length($0) > width { exit 1 }' <<<"$lines" ||
      fail "a line of the map is wider than $width"
    [ "$(grep -c . <<<"$lines")" -le 7 ] || fail "more lines than there may be at $width"
  done
}

color_on_a_terminal() {
  local seen
  seen=$(TERM=xterm bounded script -qec 'remapctl map v.db' /dev/null </dev/null)
  [[ $seen == *$'\033['* ]] || fail "no colour on a terminal"
  seen=$(TERM=xterm NO_COLOR=1 bounded script -qec 'remapctl map v.db' /dev/null </dev/null)
  [[ $seen != *$'\033['* ]] || fail "colour in spite of NO_COLOR"
  seen=$(TERM=dumb bounded script -qec 'remapctl map v.db' /dev/null </dev/null)
  [[ $seen != *$'\033['* ]] || fail "colour on a dumb terminal"
  seen=$(TERM=xterm bounded script -qec 'stty cols 50; remapctl map v.db' /dev/null </dev/null)
  awk '/^ +[0-9]+  [.rPX]/ { sub(/\r$/, ""); gsub(/\033\[[0-9;]*m/, "")
    if (length($0) > 50) exit 1 }' <<<"$seen" ||
    fail "the map does not fit a terminal of 50 columns"
}

tables() {
  SQUEEZE=1 expect status 0 remapctl status v.db
  SQUEEZE=1 expect status-json 0 remapctl status -J v.db
  expect status-bad-watch 2 remapctl status --watch=0 v.db
  expect status-watch-apart 2 remapctl status --watch 1 v.db
  expect list 0 remapctl list v.db
  expect list-json 0 remapctl list -J v.db
  expect pending 0 remapctl pending v.db
  expect pending-json 0 remapctl pending -J v.db
  expect history 0 remapctl history --limit 5 v.db
  expect history-json 0 remapctl history --limit 3 -J v.db
}

health() {
  (
    mkdir one && cd one && volume_make v.db 1M 64K
    printf '%s\n' 'remap 10 1 1 0' 'pending 5 1 0 0' | fill v.db
    bounded remapctl inject v.db add --sectors 9 >/dev/null
    expect health-one 1 remapctl health v.db
  )
  expect health-warning 1 remapctl health v.db
  expect health-ok 0 remapctl health --pending-warning 0 v.db
  expect health-few 2 remapctl health -w 99.9 -c 99 v.db
  expect health-pending 2 remapctl health --pending-critical 4 v.db
  expect health-pending-more 1 remapctl health --pending-critical 5 v.db
  expect health-mounted 2 remapctl health --mounted v.db
  expect health-no-volume 3 remapctl health nowhere.db
  expect health-limits 3 remapctl health -w 5 -c 10 v.db
  expect health-bad-number 3 remapctl health -w 101 v.db
  expect health-no-name 3 remapctl health
}

# Full, and with main gone: both are critical.
health_of_trouble() {
  (
    mkdir full && cd full && volume_make v.db 1M 64K
    slots=$(remapctl status -J v.db | jq .free_slots)
    echo "remap 0 $slots 1 0" | fill v.db
    expect health-full 2 remapctl health v.db
    mv main.img elsewhere
    expect health-gone 2 remapctl health v.db
    mv elsewhere main.img
    sqlite3 v.db 'DELETE FROM remap'
    expect health-edited 2 remapctl health v.db
  )
}

metrics() {
  expect metrics 0 remapctl metrics v.db
  expect metrics-no-volume 1 remapctl metrics nowhere.db
  expect metrics-onto-the-volume 1 remapctl metrics -o v.db v.db
  expect metrics-no-folder 1 remapctl metrics -o nowhere/x.prom v.db
  expect report-no-volume 1 remapctl report nowhere.db
  expect report-onto-a-spare 1 remapctl report -o spare1.img v.db
}

requires jq script
map
map_fits
color_on_a_terminal
tables
health
health_of_trouble
metrics
echo "$checked outputs are as expected"
