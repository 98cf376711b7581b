# What the tests of this folder share: all of ../mount/lib.sh, and a second user,
# who needs no account.
# shellcheck shell=bash
. "$(dirname "$0")/../mount/lib.sh"

STRANGER=64999

# as_stranger COMMAND...: as a user who is neither root nor anybody with files here.
as_stranger() {
  bounded setpriv --reuid="$STRANGER" --regid="$STRANGER" --clear-groups -- "$@"
}

# requires_stranger: root, and the right to become somebody else.
requires_stranger() {
  requires root setpriv
  [ "$(setpriv --reuid="$STRANGER" --regid="$STRANGER" --clear-groups -- id -u 2>/dev/null)" = "$STRANGER" ] ||
    skip "nobody else can be here: no right to change the user"
}
