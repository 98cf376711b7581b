#!/bin/bash
# The manual pages name what --help names, and nothing else; remapfs(5) has the
# tables and columns that a database has; groff has nothing to say about a page.
. "$(dirname "$0")/look.sh"
requires sqlite3

PAGES=$(realpath -- "$TESTS/../../man")

names() { # WHAT FILE [SECTION]
  awk -v what="$1" -v section="${3:-}" -f "$TESTS/manual.awk" "$2" | sort
}

# same WHAT HELP PAGE: the files hold the same lines, and some.
same() {
  [ -s "$2" ] || fail "$1: nothing was found in --help"
  diff -u --label "$1 --help" --label "$1 manual" "$2" "$3" || fail "$1: --help and manual differ (above)"
  checked=$((${checked:-0} + 1))
}

# ---- options, actions, columns, exit codes ------------------------------------------

compare_program() { # PROGRAM SECTIONS
  bounded "$1" --help >help
  names help help >in-help
  names page "$PAGES/$1.8.scd" "$2" >in-page
  same "$1" in-help in-page
  names usage help >in-help
  names synopsis "$PAGES/$1.8.scd" >in-page
  same "$1: usage" in-help in-page
}

compare_program remapctl '# COMMANDS|## .*[(]8[)]|# OPTIONS|# EXIT STATUS'
[ ! -x "$BUILD/remapfs" ] || compare_program remapfs '# OPTIONS|# MOUNT OPTIONS|# EXIT STATUS'

# Each command and the page that remapctl --help names for it.
bounded remapctl --help | awk '
  /^[^ ].*\(8\)$/ { page = $NF; sub(/\(8\)/, "", page) }
  /^[^ ]/ && !/\(8\)$/ { page = "" }
  page && /^ / { print $1, page }' >commands
[ "$(wc -l <commands)" -gt 20 ] || fail "remapctl --help: the commands were not found"

help_of() { # COMMAND [ACTION]
  if [ -n "${2:-}" ]; then
    bounded remapctl "$1" volume "$2" --help
  else
    bounded remapctl "$1" --help
  fi
}

compare_command() { # PAGE COMMAND [ACTION]
  local page=$1
  shift
  help_of "$@" >help
  names help help >in-help
  names page "$PAGES/$page.8.scd" "## remapctl $*\$" >in-page
  same "remapctl $*" in-help in-page
  names usage help >>"usage.$page"
  printf '## remapctl %s\n' "$*" >>"headings.$page"
}

while read -r command page; do
  compare_command "$page" "$command"
  [ "$command" != inject ] || for action in add list clear; do
    compare_command "$page" inject "$action"
  done
  grep -Eq "^(.*, )?remapctl-$command(,.*)? - " "$PAGES/$page.8.scd" ||
    fail "$page.8.scd: remapctl-$command is not in NAME"
done <commands

for page in $(cut -d ' ' -f 2 commands | sort -u); do
  sort -u "usage.$page" >in-help
  names synopsis "$PAGES/$page.8.scd" >in-page
  same "$page: usage" in-help in-page
  sort "headings.$page" >in-help
  grep '^## ' "$PAGES/$page.8.scd" | sort >in-page
  same "$page: commands" in-help in-page
done
for file in "$PAGES"/remapctl-*.scd; do
  page=$(basename "$file" .8.scd)
  grep -q " $page\$" commands || fail "remapctl --help does not name $page(8)"
done

# ---- the schema ---------------------------------------------------------------------

volume_make schema.db 1M 256K
sqlite3 schema.db "SELECT m.name || ' ' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
  WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite%'" | sort >in-database
awk '/^# / { inside = /^# (TABLES|VIEWS)$/ } inside && /^## / { table = $2 }
  inside && /^\t/ && before ~ /^\*/ { gsub(/\*/, "", before); print table, before } { before = $0 }' \
  "$PAGES/remapfs.5.scd" | sort >in-page
[ -s in-database ] || fail "no table was found in a new database"
diff -u --label schema --label manual in-database in-page || fail "remapfs(5) has other columns (above)"
version=$(sqlite3 schema.db 'PRAGMA user_version')
grep -q "the version of the schema, $version\\." "$PAGES/remapfs.5.scd" ||
  fail "remapfs(5) does not say that the schema's version is $version"

# Every event that the code knows, and no other.
sed -n '/^Events are/,/^$/p' "$PAGES/remapfs.5.scd" | tr -d '\\\n' | grep -o '_[a-z_]*_[,;. :]' |
  sed -E 's/^_//; s/_[,;. :]$//' | sort >in-page
sed -n '/static const char \*const names\[/,/}/p' "$TESTS/../../src/store/history.c" | grep -o '"[a-z_]*"' | tr -d '"' |
  sort >in-code
[ -s in-code ] || fail "no event was found in history.c"
diff -u --label history.c --label manual in-code in-page || fail "remapfs(5) has other events (above)"

# ---- every example is one that tests/mount/test-manual.sh runs ----------------------

for file in "$PAGES"/*.scd; do
  awk -v page="$(basename "$file")" '
    /^# / { inside = $0 == "# EXAMPLES" }
    /^; example/ { marked = 1; examples++ }
    /^```/ && !closing { closing = 1; if (inside && !marked) bad = 1; marked = 0; next }
    /^```/ { closing = 0 }
    END {
      if (bad) print page ": an example is not marked with \"; example\""
      if (!examples) print page ": there is no example"
      exit bad || !examples
    }' "$file" >&2 || fail "a manual page without examples that are tried"
done

# ---- what groff says ----------------------------------------------------------------

if [ ! -f "$BUILD/man/remapfs.8" ]; then
  echo "SKIP test-manual: the pages were not built (scdoc is missing); the sources were compared"
elif ! command -v groff >/dev/null; then
  echo "SKIP test-manual: groff is missing; the sources were compared"
else
  for file in "$BUILD"/man/installed/*.[578]; do
    read -r word target <"$file"
    [ "$word" = .so ] && [ -f "$BUILD/man/${target#man8/}" ] || fail "$file leads to '$target', which is not there"
    [ "$BUILD/man/${file##*/}" -ef "$BUILD/man/${target#man8/}" ] || fail "man -l ${file##*/} is not $target"
  done
  for file in "$BUILD"/man/*.[578]; do
    [ ! -L "$file" ] || continue
    groff -ww -man -t -K utf8 -T ascii -P -c "$file" >formatted 2>warnings || fail "$file: $(cat warnings)"
    [ ! -s warnings ] || fail "$file: $(cat warnings)"
    # What the Markdown of docs/ would leave behind if it were not understood.
    sed 's/.\x08//g' formatted >text
    ! grep -nE '\*\*|`|\]\(|@include|@VERSION@' text || fail "$file: Markdown or markers (above)"
    checked=$((checked + 1))
  done
fi

echo "PASS test-manual: $checked comparisons"
