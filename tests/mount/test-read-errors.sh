#!/bin/bash
# A sector that cannot be read is pending: EIO every time, no remap, also after
# a restart, until something is written to it.
. "$(dirname "$0")/lib.sh"
requires root loop jq

bad="100 101 200 300 400"
volume_make 20M 4M
noise content 1000
image_mount
sector_write "$IMAGE" 0 1000 <content
# The first three stay unreadable on main; a write heals the other two.
inject --sectors 100,101,200 --on read
inject --sectors 300,400 --on read --until-rewritten
loop_attach

unreadable() {
  local sector
  for sector in $bad; do
    for target in "$R" "$IMAGE"; do
      must_fail 'input/output error' sector_read "$target" "$sector" 1
      must_fail 'input/output error' sector_read "$target" "$sector" 1
    done
  done
  for sector in 99 102 199 201 299 301 399 401; do
    sector_read "$R" "$sector" 1 | cmp -s - <(piece content "$sector" 1) ||
      fail "neighbour $sector"
  done
  assert_eq "$(pending_sectors_list)" "$bad" "pending"
  assert_eq "$(status_of .pending_sectors)" 5 "pending sectors in status"
  assert_eq "$(remapped_sectors_list)" "" "remapped"
}

unreadable
assert_eq "$(events remapped)" 0 "remaps in history"
assert_eq "$(sql "SELECT sum(sectors) FROM history WHERE event = 'pending'")" 5 "pending in history"

say "a request that only touches one fails as a whole, never short"
must_fail 'input/output error' sector_read "$IMAGE" 96 8

say "restart"
loop_detach
image_restart
loop_attach
unreadable

say "a write cures"
for sector in $bad; do
  noise "want.$sector" 1
  sector_write "$R" "$sector" 1 <"want.$sector"
done
cured() {
  local sector
  for sector in $bad; do
    sector_read "$R" "$sector" 1 >seen
    assert_same seen "want.$sector" "sector $sector $1"
  done
  assert_eq "$(pending_sectors_list)" "" "pending $1"
}
cured "after the write"
# In place where reading back worked, on the spare where it did not.
assert_eq "$(remapped_sectors_list)" "100 101 200" "remapped"
assert_eq "$(sql "$(each_sector history main_sector "event = 'cured'")" | xargs)" "300 400" "cured in place"

loop_detach
image_restart
loop_attach
cured "after a restart"
loop_detach
image_unmount
