#!/bin/bash
# Where commands write their output, in a folder that others write as well: nothing that
# somebody else put there is followed, waited for, or written into; what is the user's own
# is written through.
. "$(dirname "$0")/lib.sh"
requires_stranger
volume_make 1M 256K
mkdir -m 1777 shared
OUT=$PWD/shared/out
umask 022

echo precious >precious
touch readable
chmod 644 readable
# write_all: each command that writes a file. Prints those that wrote, and bounds each.
write_all() {
  local code
  for command in "report -o $OUT $VOLUME" "metrics -o $OUT $VOLUME" "metrics --output=$OUT $VOLUME" \
    "export --format csv $VOLUME $OUT" "export --format json $VOLUME $OUT" \
    "export --format ddrescue $VOLUME $OUT"; do
    code=0
    # shellcheck disable=SC2086
    BOUND=10 bounded remapctl $command >said 2>&1 || code=$?
    [ "$code" != 124 ] || fail "remapctl $command waits"
    [ "$code" = 1 ] || echo "remapctl $command"
    [ "$(cat precious)" = precious ] || fail "remapctl $command wrote over it: $(head -c 80 precious)"
    [ ! -e "$SCRATCH/new" ] || fail "remapctl $command made what the link names"
    [ "$(wc -l <said)" -le 1 ] || fail "remapctl $command said more than a line"
  done
}

# refuses WHAT COMMAND...: what a stranger lays out there with COMMAND is refused by all, and stays.
refuses() {
  local what=$1 before
  shift
  as_stranger "$@"
  before=$(stat -c %i:%F "$OUT")
  assert_eq "$(write_all)" "" "what takes $what"
  assert_eq "$(stat -c %i:%F "$OUT")" "$before" "$what, afterwards"
  rm "$OUT"
  assert_eq "$(ls -A shared)" "" "left beside $what"
}

say "a stranger's"
refuses "a link to a file" ln -s "$SCRATCH/precious" "$OUT"
refuses "a link to nothing" ln -s "$SCRATCH/new" "$OUT"
refuses "a link to a device" ln -s /dev/null "$OUT"
refuses "a link to a link" ln -s /dev/stdout "$OUT"
refuses "a FIFO" mkfifo "$OUT"
refuses "a socket" perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die' "$OUT"
as_stranger mkdir "$OUT"
assert_eq "$(write_all)" "" "what takes a folder"
rmdir "$OUT"

say "a stranger's folder with a link in it"
as_stranger mkdir shared/his
as_stranger ln -s "$SCRATCH/precious" shared/his/out
must_fail "link of another user" bounded remapctl report -o shared/his/out "$VOLUME"
must_fail "link of another user" bounded remapctl export --format csv "$VOLUME" shared/his/out
assert_eq "$(cat precious)" precious "what the link names"
rm -r shared/his

say "a stranger's file, which he holds open"
as_stranger perl -e '$| = 1; open my $f, "+>", $ARGV[0] or die; syswrite $f, "his\n"; print "open\n";
  select undef, undef, undef, 0.1 until -e $ARGV[1]; print "size ", -s $f, "\n"' "$OUT" "$SCRATCH/go" >his &
holder=$!
wait_for 10 grep -q open his || fail "he does not open it"
bounded remapctl report -o "$OUT" "$VOLUME"
touch go
wait "$holder"
assert_eq "$(xargs <his)" "open size 4" "what he sees"
assert_eq "$(stat -c '%u %a' "$OUT")" "0 644" "owner and mode of what took its place"
rm -f "$OUT"

say "a stranger who exchanges it all the time"
as_stranger perl -e 'my ($out, $to) = @ARGV; my $end = time + 20;
  while (!-e "$out.stop" && time < $end) {
    symlink $to, $out; unlink $out; symlink "$to.none", $out; unlink $out;
    open my $f, ">", $out; unlink $out; }' "$OUT" "$SCRATCH/precious" &
swapper=$!
for _ in 1 2 3 4 5 6 7 8; do
  write_all >/dev/null
  rm -f "$OUT"
done
touch "$OUT.stop"
wait "$swapper" || :
rm -f shared/*
assert_eq "$(ls -A shared)" "" "left"

say "the user's own"
bounded remapctl metrics "$VOLUME" >expected
ln -s "$SCRATCH/readable" "$OUT"
bounded remapctl metrics -o "$OUT" "$VOLUME"
assert_same readable expected "written through a link"
[ -L "$OUT" ] || fail "the link was replaced"
rm "$OUT"
ln -s "$SCRATCH/none" "$OUT"
must_fail "No such file" bounded remapctl metrics -o "$OUT" "$VOLUME"
rm "$OUT"
mkfifo "$OUT"
bounded cat "$OUT" >seen &
bounded remapctl metrics -o "$OUT" "$VOLUME"
wait $!
assert_same seen expected "written to a FIFO"
rm "$OUT"
bounded remapctl metrics -o /dev/stdout "$VOLUME" | cmp - expected || fail "/dev/stdout, a pipe"
echo before >appended
bounded remapctl metrics -o /dev/stdout "$VOLUME" >>appended
assert_same appended <(echo before; cat expected) "/dev/stdout, a file that is added to"
bounded remapctl metrics -o /dev/null "$VOLUME"
bounded remapctl export --format csv "$VOLUME" /dev/null
[ -c /dev/null ] || fail "/dev/null was replaced"
must_fail "No space left" bounded remapctl metrics -o /dev/full "$VOLUME"
bounded remapctl export --format csv "$VOLUME" >(cat >substituted)
wait_for 10 grep -q sector substituted || fail "a process substitution got nothing"
(umask 077 && bounded remapctl export --format csv "$VOLUME" "$OUT")
assert_eq "$(stat -c %a "$OUT")" 600 "mode of a list with umask 077"

say "what belongs to the volume"
sha256sum "$VOLUME" "$MAIN" "$SPARE" >sums
for file in "$VOLUME" "$MAIN" "$SPARE"; do
  ln -sf "$file" own
  ln -f "$file" hard
  for name in "$file" own hard; do
    must_fail "belongs to the volume" bounded remapctl report -o "$name" "$VOLUME"
    must_fail "belongs to the volume" bounded remapctl export --format csv "$VOLUME" "$name"
  done
  rm own hard
done
sha256sum -c --quiet sums
