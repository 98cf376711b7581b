#!/bin/bash
# The database is moved, replaced or deleted while mounted: that is noticed, told
# with the remedy, nothing is acknowledged into a file that nobody will find, and
# it works again when the database is back, with everything recorded.
. "$(dirname "$0")/lib.sh"
requires jq sqlite3

volume_make 16M 2M
inject --sectors 1000-1007,2000-2099 --on write
image_mount
noise old 8
noise new 8
sector_write "$IMAGE" 1000 8 <old

trouble_is() {
  status_of .trouble | grep -q -- "$1"
}

# in_trouble WHAT SECTOR: what works, and what does not.
in_trouble() {
  wait_for 10 trouble_is "$1" || fail "status says $(cat status.json)"
  say "$(status_of .trouble)"
  assert_eq "$(status_of .state)" failed "state"
  bounded remapctl status "$VOLUME" >text 2>&1 || :
  grep -q -- "$1" text || fail "status in text: $(cat text)"
  must_fail 'input/output error' sector_write "$IMAGE" "$2" 8 <new
  sector_write "$IMAGE" 1000 8 <new
  sector_read "$IMAGE" 1000 8 | cmp - new || fail "what lives on the spare"
  sector_write "$IMAGE" 4000 8 <new
  sector_read "$IMAGE" 4000 8 | cmp - new || fail "what lives on main"
}

is_ok() {
  [ "$(status_of .state)" = ok ]
}

# well SECTOR: all works again, and it is recorded.
well() {
  wait_for 10 is_ok || fail "status says $(cat status.json)"
  sector_write "$IMAGE" "$1" 8 <new
  sector_read "$IMAGE" "$1" 8 | cmp - new || fail "sectors that move again"
  assert_eq "$(sql "SELECT count(*) FROM remap WHERE main_sector <= $1 AND
    main_sector + sectors >= $1 + 8")" 1 "the row of sector $1 in $(sql 'SELECT * FROM remap' | xargs)"
}

say "moved, and nobody writes"
mv "$VOLUME" away
in_trouble 'move it back' 2000
mv away "$VOLUME"
well 2000
[ "$(events commit_failed)" -ge 1 ] || fail "no commit_failed in history"
works_again() {
  [ "$(events commit_works)" = 1 ]
}
wait_for 10 works_again || fail "no commit_works in history"
sql "SELECT event, error, detail FROM history WHERE event LIKE 'commit%' LIMIT 3"

say "replaced by its copy"
cp "$VOLUME" copy
mv "$VOLUME" away
mv copy "$VOLUME"
in_trouble 'replaced' 2008
# Status asks the daemon, not the one that is not its database.
bounded remapctl status "$VOLUME" --json | jq -e '.main == null' >/dev/null || fail "status opened it"
[ -e "$VOLUME-wal" ] || fail "status removed the log"
kill_worker
sleep 1
mv away "$VOLUME"
well 2008

say "its log deleted: handed over to a new worker"
rm "$VOLUME-wal"
in_trouble 'remapctl upgrade' 2016
bounded remapctl upgrade "$VOLUME" >upgrade.log 2>&1 || fail "upgrade: $(cat upgrade.log)"
well 2016
sector_read "$IMAGE" 2008 8 | cmp - new || fail "what moved before"

say "its log deleted, and everything killed"
rm "$VOLUME-wal" "$VOLUME-shm"
in_trouble 'remapctl upgrade' 2024
sleep 2
kill_daemon
wait_for 10 try_unmount "$MNT" || bounded umount -l "$MNT"
image_mount
well 2024
for sector in 2000 2008 2016; do
  sector_read "$IMAGE" "$sector" 8 | cmp - new || fail "sector $sector after a kill"
done

say "deleted: what is on the spares is found again"
moved=$(remapped_sectors_list)
rm "$VOLUME"
in_trouble 'remapctl rebuild' 2032
pid=$(daemon_pid)
bounded fusermount3 -u "$MNT"
wait_for 30 process_ended "$pid" || fail "remapfs does not end without its database"
bounded remapctl rebuild -q "$VOLUME" --main "$MAIN" --spare "$SPARE"
image_mount
assert_eq "$(remapped_sectors_list)" "$moved" "remapped after a rebuild"
for sector in 1000 2000 2008 2016 2024; do
  sector_read "$IMAGE" "$sector" 8 | cmp - new || fail "sector $sector after a rebuild"
done
image_unmount
