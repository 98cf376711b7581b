#!/bin/bash
# The spare has bad sectors of its own. Met by a write: the next slot is taken.
# Met by a read: EIO and pending, never stale bytes; a write heals that too.
. "$(dirname "$0")/lib.sh"
requires root loop jq

volume_make 20M 4M

# slot_sector SLOT: where it is, in sectors from the start of the spare.
slot_sector() {
  local slots
  slots=$(sql 'SELECT slots FROM spare WHERE id = 1')
  echo $(((4096 + (slots * 32 + 4095) / 4096 * 4096) / SS + $1))
}

# slot_of SECTOR
slot_of() {
  sql "SELECT slot + $1 - main_sector FROM remap WHERE main_sector <= $1 AND main_sector + sectors > $1"
}

say "slots that fail on write"
first=$(slot_sector 0)
inject --spare 1 --sectors "$first,$((first + 1)),$((first + 3))-$((first + 5))" --on write
inject --sectors 100-107,200,300 --on write
image_mount
loop_attach
for range in "100 8" "200 1" "300 1"; do
  noise "want.${range% *}" "${range#* }"
  sector_write "$R" ${range/ / } <"want.${range% *}"
done

compare() {
  for range in "100 8" "200 1" "300 1"; do
    sector_read "$R" ${range/ / } >seen
    assert_same seen "want.${range% *}" "sector ${range% *} $1"
  done
}
compare "after the write"
assert_eq "$(remapped_sectors_list)" "100 101 102 103 104 105 106 107 200 300" "remapped"
[ "$(events slot_bad)" -ge 1 ] || fail "no slot_bad in the history"
assert_eq "$(sql "SELECT count(*) FROM bad_slot b JOIN remap r ON r.spare_id = b.spare_id
  AND r.slot < b.slot + b.slots AND b.slot < r.slot + r.sectors")" 0 "remaps on bad slots"
# Only slots that fail are bad: at most the five.
bad=$(sql 'SELECT bad FROM spare_usage')
[ "$bad" -ge 1 ] && [ "$bad" -le 5 ] || fail "$bad bad slots of 5"

say "a slot that fails when it is written again"
old=$(slot_of 200)
inject --spare 1 --sectors "$(slot_sector "$old")" --on write
noise want.200 1
sector_write "$R" 200 1 <want.200
[ "$(slot_of 200)" != "$old" ] || fail "sector 200 is still in slot $old"
assert_eq "$(events moved)" 1 "moved in history"
compare "after it moved"

say "a slot that fails on read"
old=$(slot_of 300)
inject --spare 1 --sectors "$(slot_sector "$old")" --on read
for _ in 1 2 3; do
  must_fail 'input/output error' sector_read "$R" 300 1
done
lost() {
  assert_eq "$(pending_sectors_list)" 300 "pending $1"
  assert_eq "$(sql 'SELECT spare_id, slot FROM pending')" "1|$old" "place of the pending sector $1"
  must_fail 'input/output error' sector_read "$R" 300 1
}
lost "after the read"
loop_detach
image_restart
loop_attach
lost "after a restart"
# Neither main nor another slot may stand in for it when the spare recovers
# only in part: what main holds of this sector is older.
for range in "100 8" "200 1"; do
  sector_read "$R" ${range/ / } >seen
  assert_same seen "want.${range% *}" "sector ${range% *} beside a lost one"
done

say "a write heals it"
noise want.300 1
sector_write "$R" 300 1 <want.300
assert_eq "$(pending_sectors_list)" "" "pending"
compare "after healing"
loop_detach
image_restart
loop_attach
compare "after a restart"
loop_detach
image_unmount
