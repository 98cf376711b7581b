#!/bin/bash
# Other users of the machine, in a folder that they may write as well, and an
# environment that is not ours: nothing of a volume is theirs to read, nothing
# that they laid out is followed, believed or started.
. "$(dirname "$0")/lib.sh"
requires root jq perl setpriv
id nobody >/dev/null 2>&1 || skip "no user nobody here"
as_nobody() {
  bounded setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups -- "$@"
}

mkdir -m 1777 shared
cd shared
VOLUME=$PWD/volume MAIN=$PWD/main.img SPARE=$PWD/spare.img
umask 0

say "names that lead elsewhere"
touch "$SCRATCH/precious"
chmod 666 "$SCRATCH/precious"
# refuses REGEX: create, and what the link leads to is neither made nor written.
refuses() {
  must_fail "$1" bounded remapctl create "$VOLUME" --main "$MAIN,size=16M" --spare "$SPARE,size=1M"
  [ ! -s "$SCRATCH/precious" ] && [ ! -e "$SCRATCH/new" ] || fail "written through a link"
  find . -mindepth 1 -type l -delete
  assert_eq "$(ls -A | xargs)" "" "what a refused create has left"
}
for name in volume volume-wal volume-shm volume-journal; do
  as_nobody ln -s "$SCRATCH/precious" "$name"
  refuses "exists already|left from another"
done
for name in volume spare.img main.img; do
  as_nobody ln -s "$SCRATCH/new" "$name"
  refuses 'exists|cannot make'
done

say "whatever the umask, files are for their owner"
volume_make 16M 256K
image_mount
inject --sectors 100-107 --on write
noise "$SCRATCH/data" 8
sector_write "$IMAGE" 100 8 <"$SCRATCH/data"
bounded remapctl add-spare -q "$VOLUME" "$PWD/more.img,size=1M"
bounded remapctl export "$VOLUME" --format csv >"$SCRATCH/list"
for file in volume volume-wal volume-shm volume.sock main.img spare.img more.img; do
  assert_eq "$(stat -c '%U %a' "$file")" "root 600" "owner and mode of $file"
  must_fail 'denied' as_nobody head -c 1 "$file"
done
assert_eq "$(find . -mindepth 1 -perm /077 | xargs)" "" "what others may use"
must_fail 'denied|another user|cannot' as_nobody "$BUILD/remapctl" status "$VOLUME"
must_fail 'denied|not permitted' as_nobody rm volume.sock
must_fail 'denied|not permitted' as_nobody mv volume.sock mine
assert_eq "$(as_nobody perl -MIO::Socket::UNIX -e \
  'print IO::Socket::UNIX->new($ARGV[0]) ? "in" : $!' volume.sock)" "Permission denied" "nobody at the socket"

say "clients that ask and go, or never read"
# Of status, which is long; their ends are closed all at once.
bounded perl -MIO::Socket::UNIX -e '
  my @clients = map { IO::Socket::UNIX->new($ARGV[0]) } 1 .. 12;
  $_ && print $_ "{\"command\": \"status\"}\n" for @clients;
  $_ && $_->flush for @clients;
  sleep 1;
  exec "remapctl", "status", $ARGV[1], "--json"' volume.sock "$VOLUME" >"$SCRATCH/status"
assert_eq "$(jq .daemon.running "$SCRATCH/status")" true "status beside clients that never read"
worker=$(worker_pid)
bounded perl -MIO::Socket::UNIX -e '$SIG{PIPE} = "IGNORE"; for (1 .. 100) {
  my $c = IO::Socket::UNIX->new($ARGV[0]) or die;
  print $c "{\"command\": \"status\"}\n" }' volume.sock
sector_read "$IMAGE" 100 8 | cmp - "$SCRATCH/data"
assert_eq "$(worker_pid)" "$worker" "worker after all of them"
image_unmount

say "a socket of somebody else's"
as_nobody perl -MIO::Socket::UNIX -e '
  $SIG{PIPE} = "IGNORE";
  my $s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 5) or die;
  chmod 0777, $ARGV[0];
  open my $f, ">", "listens.new";
  print $f $$;
  close $f;
  rename "listens.new", "listens";
  while (my $c = $s->accept) { <$c>; print $c qq({"ok": true, "pid": 1, "image": "/etc/passwd"}\n) }' \
  "$PWD/volume.sock" 2>/dev/null || : &
wait_for 10 test -e listens || fail "the impostor does not listen"
must_fail 'another user' bounded remapctl scrub "$VOLUME" pause
must_fail 'another user' bounded remapctl attach "$VOLUME"
must_fail 'another daemon answers' bounded remapfs "$VOLUME" "$MNT"
kill "$(cat listens)"
wait || :
say "which nobody listens on any more"
image_mount
assert_eq "$(stat -c '%U %a' volume.sock)" "root 600" "owner and mode of the socket"
image_unmount

say "an environment of somebody else's"
mkdir "$SCRATCH/path"
for program in fusermount3 losetup mount umount sh remapfs remapctl sqlite3 logger systemctl; do
  printf '#!/bin/sh\n: >"%s/started-$(basename "$0")"\nexit 1\n' "$SCRATCH" >"$SCRATCH/path/$program"
done
chmod 755 "$SCRATCH/path"/*
mkdir -m 700 "$SCRATCH/tmp"
strange() {
  bounded env -i PATH="$SCRATCH/path" HOME=/nowhere TMPDIR="$SCRATCH/tmp" SQLITE_TMPDIR="$SCRATCH/tmp" \
    NOTIFY_SOCKET="$SCRATCH/no.sock" JOURNAL_STREAM=9:9 LC_ALL=xx_YY TERM='%s%n' COLUMNS=-1 "$@"
}
strange "$BUILD/remapfs" "$VOLUME" "$MNT" >mount.log 2>&1 || fail "mount: $(cat mount.log)"
worker=$(worker_pid)
strange "$BUILD/remapctl" scrub "$VOLUME" start -q --rate 0 --wait
kill -9 "$worker"
another_serves() {
  local now
  now=$(worker_pid) && [ "$now" != null ] && [ "$now" != "$worker" ]
}
if [ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ]; then
  wait_for 20 another_serves || fail "no worker follows"
  strange "$BUILD/remapctl" upgrade "$VOLUME" >/dev/null
  sector_read "$IMAGE" 100 8 | cmp - "$SCRATCH/data"
  kill "$(daemon_pid)"
  wait_for 20 no_daemon || fail "it does not end"
fi
[ -z "$(find "$SCRATCH" -maxdepth 1 -name 'started-*')" ] || fail "started: $(ls -d "$SCRATCH"/started-*)"
assert_eq "$(ls -A "$SCRATCH/tmp")" "" "temporary files left"
