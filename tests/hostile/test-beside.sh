#!/bin/bash
# What another user puts beside a volume, into a folder that he may write: SQLite would play
# it back. Root's commands, remapfs and Tab refuse it; no file is deleted, nothing is waited
# for, and the volume stays as it was, whenever it is put there and whoever owns the volume.
LIMIT=420
. "$(dirname "$0")/lib.sh"
requires_stranger
requires perl sqlite3 bash

# put_journal PATH VICTIM: a hot rollback journal without pages, of a database with 20 pages
# of 4096 bytes, that names VICTIM as its super-journal. SQLite deletes that.
cat >put_journal <<'END'
#!/usr/bin/perl
my ($path, $victim) = @ARGV;
my ($magic, $sum) = (pack("H*", "d9d505f920a163d7"), 0);
$sum += ord for split //, $victim;
my $begin = $magic . pack "N5", 0, 1, 20, 512, 4096;
open my $out, ">:raw", "$path.new" or die "$path: $!\n";
print $out $begin, "\0" x (512 - length $begin), pack("N", 0x40000000 / 4096 + 1), $victim,
  pack("N2", length $victim, $sum), $magic;
close $out;
rename "$path.new", $path or die "$path: $!\n";
END
chmod 755 put_journal

mkdir -m 1777 shared
mkdir precious
VOLUME=$PWD/shared/v MAIN=$PWD/m SPARE=$PWD/s
volume_make 1M 128K
cp --preserve=all "$VOLUME" saved
echo precious >precious/file

say "the attack works where nothing stops it"
./put_journal "$VOLUME-journal" "$PWD/precious/file"
sqlite3 "$VOLUME" 'SELECT uuid FROM volume' >/dev/null
[ ! -e precious/file ] || fail "the journal is not one that SQLite plays back"
rm -f "$VOLUME"-*
cp --preserve=all saved "$VOLUME"
echo precious >precious/file

# Every command, with V for the volume.
commands=("status V" "status V --json" "list V" "pending V" "history V" "map V" "health V" "metrics V"
  "report V" "doctor V" "check V" "check --repair V" "export --format csv V" "scrub V status"
  "scrub V start --wait -q" "inject V list" "inject V add --sectors 1 --on write" "mark V --sectors 1"
  "unmap V --sectors 1" "retire-spare V 1" "add-spare V $PWD/new,size=128K" "set-path V --main $MAIN"
  "import V --format badblocks /dev/null" "attach V" "detach V" "upgrade V")

# unharmed WHO
unharmed() {
  [ "$(cat precious/file)" = precious ] || fail "$1, with $what, deleted or changed the file"
  assert_same "$VOLUME" saved "the volume after $1, with $what"
}

# run_refused COMMAND...: whatever the exit code is called, it is not that of success.
run_refused() {
  local code=0
  BOUND=20 bounded "$@" >said 2>&1 </dev/null || code=$?
  case $code in
    0) fail "$* takes $what: $(head -5 said)" ;;
    124 | 137) fail "$* waits for $what" ;;
  esac
  unharmed "$*"
}

# Tab, with the volume's folder and after its name.
press_tab() {
  local code=0
  BOUND=20 bounded bash -c '
    . "$1"
    for words in "remapctl status ${2%v}" "remapctl retire-spare $2 " "remapctl set-path $2 --spare "; do
      read -ra COMP_WORDS <<<"$words"
      [ "${words% }" = "$words" ] || COMP_WORDS+=("")
      COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
      _remapctl
    done' tab "$TESTS/../../completion/remapctl" "$VOLUME" >said 2>&1 </dev/null || code=$?
  [ "$code" != 124 ] || fail "Tab waits for $what"
  unharmed Tab
}

all_refuse() {
  local command
  for command in "${commands[@]}"; do
    # shellcheck disable=SC2086
    run_refused remapctl ${command//V/"$VOLUME"}
  done
  run_refused remapfs "$VOLUME" "$MNT"
  press_tab
}

# refuses WHAT COMMAND...: what COMMAND puts there, by all. It is not removed either.
refuses() {
  what=$1
  shift
  "$@"
  ls "$VOLUME"-* >before
  "${look:-all_refuse}"
  assert_eq "$(ls "$VOLUME"-* | xargs)" "$(xargs <before)" "what is beside it, with $what"
  rm -rf "$VOLUME"-*
}

few_refuse() {
  run_refused remapctl status "$VOLUME"
  run_refused remapctl check --repair "$VOLUME"
  run_refused remapctl scrub "$VOLUME" start --wait -q
  run_refused remapfs "$VOLUME" "$MNT"
}

# A log that SQLite would play back: of a volume with the same pages, by whoever could read it.
make_log() {
  cp saved his
  sqlite3 -cmd 'PRAGMA wal_autocheckpoint = 0' his "UPDATE volume SET main_path = '/etc/shadow'" \
    '.shell cp his-wal log' >/dev/null
  chmod 644 log
}
make_log

say "a stranger's, in a sticky folder, beside root's volume"
refuses "a super-journal" as_stranger "$PWD/put_journal" "$VOLUME-journal" "$PWD/precious/file"
look=few_refuse
refuses "a log" as_stranger cp log "$VOLUME-wal"
refuses "an empty log" as_stranger touch "$VOLUME-wal"
refuses "an index" as_stranger touch "$VOLUME-shm"
for suffix in journal wal shm; do
  refuses "a FIFO as -$suffix" as_stranger mkfifo "$VOLUME-$suffix"
  refuses "a link as -$suffix" as_stranger ln -s "$PWD/precious/file" "$VOLUME-$suffix"
  refuses "a link to nothing as -$suffix" as_stranger ln -s "$PWD/precious/none" "$VOLUME-$suffix"
  refuses "a folder as -$suffix" as_stranger mkdir "$VOLUME-$suffix"
  refuses "a socket as -$suffix" as_stranger perl -MIO::Socket::UNIX -e \
    'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die' "$VOLUME-$suffix"
  refuses "another name of root's file as -$suffix" ln precious/file "$VOLUME-$suffix"
done
[ ! -e precious/none ] || fail "made through a link"
say "by another path"
ln -s "$VOLUME" other-name
as_stranger ./put_journal "$VOLUME-journal" "$PWD/precious/file"
what="a super-journal beside what a link leads to"
run_refused remapctl status other-name
run_refused remapfs other-name "$MNT"
rm "$VOLUME-journal"

say "all the time, while root looks"
as_stranger perl -e 'my ($volume, $victim) = @ARGV; my $end = time + 60;
  while (!-e "$volume.stop" && time < $end) {
    system "./put_journal", "$volume-journal", $victim; unlink "$volume-journal";
    symlink $victim, "$volume-wal"; unlink "$volume-wal"; symlink $victim, "$volume-shm"; unlink "$volume-shm" }' \
  "$VOLUME" "$PWD/precious/file" 2>/dev/null &
planter=$!
for _ in $(seq 10); do
  for command in "status V" "list V" "metrics V" "check V" "scrub V status"; do
    what="what comes and goes"
    code=0
    # shellcheck disable=SC2086
    BOUND=20 bounded remapctl ${command//V/"$VOLUME"} >said 2>&1 || code=$?
    [ "$code" != 124 ] || fail "remapctl $command waits"
    [ "$(cat precious/file)" = precious ] || fail "remapctl $command deleted or changed the file"
  done
done
touch "$VOLUME.stop"
wait "$planter" || :
rm -f "$VOLUME"-* "$VOLUME.stop" "$VOLUME.sock"
bounded remapctl status "$VOLUME" >/dev/null || fail "the volume is damaged"
assert_eq "$(sql 'SELECT main_path FROM volume')" "$MAIN" "main, afterwards"

say "root, at a volume of the stranger's, with a third user's log"
cp saved "$VOLUME"
chown "$STRANGER" "$VOLUME"
cp log "$VOLUME-wal"
chown "$((STRANGER - 1))" "$VOLUME-wal"
cp --preserve=all "$VOLUME" saved
what="a third user's log"
few_refuse
rm "$VOLUME-wal"
say "the stranger, at root's volume that he can read, with his own log"
chown 0 "$VOLUME"
chmod 644 "$VOLUME"
cp --preserve=all "$VOLUME" saved
as_stranger cp log "$VOLUME-wal"
as_stranger "$BUILD/remapctl" status "$VOLUME" >said 2>&1 || :
assert_same "$VOLUME" saved "root's volume after a stranger's status"

say "what is left beside a database that is made anew"
rm -f "$VOLUME"*
for suffix in wal shm journal; do
  as_stranger ln -s "$PWD/precious/none" "$VOLUME-$suffix"
  bounded remapctl rebuild -q "$VOLUME" --main "$MAIN" --spare "$SPARE" >said 2>&1 || fail "rebuild: $(cat said)"
  [ -L "$VOLUME.old-$suffix" ] || fail "a link stays beside the database: $(ls shared)"
  bounded remapctl check "$VOLUME" >said 2>&1 || fail "check: $(cat said)"
  rm -f "$VOLUME"*
done
[ ! -e precious/none ] || fail "made through a link"
