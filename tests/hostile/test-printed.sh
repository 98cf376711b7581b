#!/bin/bash
# Names that move the cursor, begin lines of their own, turn round what follows or are no
# text: nothing that remapctl or remapfs prints or logs has them as they are.
. "$(dirname "$0")/lib.sh"
requires jq perl sqlite3

# ESC, C1 as UTF-8, right to left, a line separator, a mark, and a byte that is nothing.
nasty=$'a\n<0>b\e]0;c\a\xc2\x9b2Jd\xe2\x80\xaee\xe2\x80\xa8f\xe2\x81\xa6g\xef\xbb\xbfh\x7fi\xffj'
mkdir "$nasty"
VOLUME=$SCRATCH/$nasty/v MAIN=$SCRATCH/$nasty/m SPARE=$SCRATCH/$nasty/s

# assert_clean WHAT FILE: valid UTF-8, and nothing in it but text and ends of lines.
assert_clean() {
  perl -MEncode -e '
    local $/; my $text = eval { Encode::decode("UTF-8", scalar <STDIN>, Encode::FB_CROAK) };
    defined $text or die "no UTF-8\n";
    $text =~ s/\n//g;
    $text =~ /([\x00-\x1f\x7f-\x9f\x{61c}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{206f}\x{feff}])/ and
      die sprintf("U+%04X\n", ord $1)' <"$2" 2>"$SCRATCH/why" ||
    fail "$1 prints $(cat "$SCRATCH/why"): $(cat -v "$2")"
}

# look WORD...: remapctl prints something, and that is clean.
look() {
  bounded remapctl "$@" >"$SCRATCH/out" 2>"$SCRATCH/err" || :
  assert_clean "remapctl $*" "$SCRATCH/out"
  assert_clean "remapctl $*" "$SCRATCH/err"
}

look create "$VOLUME" --main "$MAIN,size=4M" --spare "$SPARE,size=1M"
# bash reads the word that create prints back.
word=$(grep '^  remapfs ' "$SCRATCH/out")
word=${word#  remapfs }
word=${word% MOUNTPOINT}
eval "set -- $word"
assert_eq "$1" "$VOLUME" "the word that create prints"

say "what the database holds"
hex=$(printf '%s' "$nasty" | od -An -tx1 | tr -d ' \n')
sql "INSERT INTO history (at, event, detail) SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+1 second'),
  'opened', cast(x'$hex' AS TEXT)"

for locale in C C.UTF-8; do
  export LC_ALL=$locale
  say "what is printed with LC_ALL=$locale"
  look status "$VOLUME"
  look status "$VOLUME" --json
  jq -e --arg name "$(basename "$SCRATCH")" '.volume | contains($name) and contains("\u001b") and contains("\u202e")' \
    "$SCRATCH/out" >/dev/null || fail "JSON lost what it can escape: $(cat -v "$SCRATCH/out")"
  for form in '' --json --raw; do
    for table in list pending history; do
      bounded remapctl "$table" "$VOLUME" $form >"$SCRATCH/out"
      assert_clean "remapctl $table $form" "$SCRATCH/out"
    done
  done
  for form in '' --json; do
    look map "$VOLUME" $form
    look doctor "$VOLUME" $form
    look scrub "$VOLUME" status $form
    look inject "$VOLUME" list $form
  done
  look report "$VOLUME"
  look metrics "$VOLUME"
  look health "$VOLUME"
  look check "$VOLUME"
  look export "$VOLUME" --format ddrescue
  look export "$VOLUME" --format json
  for command in status list check report metrics health doctor export attach detach add-spare set-path; do
    look "$command" "$VOLUME-none"
  done
  look "$nasty"
  look status "--$nasty" "$VOLUME"
  look create "$VOLUME"2 --main "$MAIN" --spare "$SPARE"
  look set-path "$VOLUME" --main "$SCRATCH/$nasty/none"
  look add-spare "$VOLUME" "$SCRATCH/$nasty/none"
  look export "$VOLUME" --format json "$SCRATCH/$nasty/none/none"
  look report "$VOLUME" -o "$SCRATCH/$nasty/none/none"
done

say "with main gone, which every trouble names"
mv "$MAIN" "$SCRATCH/away"
for command in status health metrics doctor report check; do
  look "$command" "$VOLUME"
done
mv "$SCRATCH/away" "$MAIN"

say "the journal: one line for each message, whatever a name says"
requires root
: >"$SCRATCH/journal"
JOURNAL_STREAM=$(stat -c %d:%i "$SCRATCH/journal") NOTIFY_SOCKET=$SCRATCH/$nasty/none \
  bounded remapfs -f "$VOLUME" "$MNT" 2>"$SCRATCH/journal" &
daemon=$!
wait_for 20 test -f "$IMAGE" || fail "no mount: $(cat -v "$SCRATCH/journal")"
look status "$VOLUME"
look status "$VOLUME" --json
look doctor "$VOLUME"
look report "$VOLUME"
image_unmount
wait "$daemon" || fail "remapfs ends with $?"
grep -q NOTIFY_SOCKET "$SCRATCH/journal" || fail "nothing was logged: $(cat -v "$SCRATCH/journal")"
assert_clean "the journal" "$SCRATCH/journal"
! grep -q '^<0>' "$SCRATCH/journal" || fail "a name made a line: $(cat -v "$SCRATCH/journal")"
