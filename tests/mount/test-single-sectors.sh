#!/bin/bash
# Single-sector direct writes to five bad sectors: five remaps, and what was
# written is read back, before and after a restart.
. "$(dirname "$0")/lib.sh"
requires root loop jq

bad="50000 50001 75000 100000 150000"
volume_make 100M 10M
inject --sectors "${bad// /,}" --on write
image_mount
loop_attach

n=0
for sector in $bad; do
  noise "want.$sector" 1
  sector_write "$R" "$sector" 1 <"want.$sector"
  n=$((n + 1))
  assert_eq "$(status_of .remapped_sectors)" "$n" "remapped sectors after $n writes"
done

compare() {
  local sector
  for sector in $bad; do
    sector_read "$R" "$sector" 1 >seen
    assert_same seen "want.$sector" "sector $sector $1"
    sector_read "$IMAGE" "$sector" 1 >seen
    assert_same seen "want.$sector" "sector $sector of disk.img $1"
  done
  # The neighbours are where they were.
  sector_read "$R" 50002 1 | cmp -s - <(head -c 512 /dev/zero) || fail "a neighbour changed $1"
}
compare "before the restart"
assert_eq "$(remapped_sectors_list)" "$bad" "remapped"
assert_eq "$(pending_sectors_list)" "" "pending"
assert_eq "$(sql "SELECT sum(sectors) FROM history WHERE event = 'remapped'")" 5 "remapped in history"
# Neighbours that moved one after the other need not be one row, but none of
# them costs more than its own slot.
assert_eq "$(sql 'SELECT used FROM spare_usage')" 5 "used slots"

loop_detach
image_restart
loop_attach
compare "after the restart"

say "written again, where they are now"
for sector in $bad; do
  noise "want.$sector" 1
  sector_write "$R" "$sector" 1 <"want.$sector"
done
compare "after the second write"
assert_eq "$(remapped_sectors_list)" "$bad" "remapped in the end"
assert_eq "$(sql 'SELECT used FROM spare_usage')" 5 "used slots in the end"
loop_detach
image_unmount
