# What a manual page and a --help text name, one a line, so that they can be
# compared: options with their values, actions, states, columns, exit codes.
#
#     awk -v what=help -f manual.awk HELP
#     awk -v what=page -v section="## remapctl create" -f manual.awk PAGE.scd
#
# section is a regular expression over headings ("# NAME", "## remapctl map"); the
# terms below it count up to the next heading that does not match, and a heading
# that names a page is one as well. what=usage and what=synopsis: how to call it.

function cut(text) {
	sub(/^ +/, "", text)
	sub(/  .*/, "", text)
	return text
}

function unmarked(text) {
	gsub(/[*\\]/, "", text)
	return text
}

# Names in angle brackets are emphasised in some pages.
function bare(text) {
	gsub(/[*\\_<>]/, "", text)
	sub(/^ +/, "", text)
	return text
}

what == "synopsis" {
	if (/^# /)
		inside = $0 == "# SYNOPSIS"
	else if (inside && $0 != "")
		print bare($0)
	next
}

what == "page" {
	if (/^##? /) {
		inside = $0 ~ "^(" section ")"
		if (inside && /\([1-9]\)$/)
			print substr($0, 4)
	} else if (inside && /^\t/ && before ~ /^\*/)
		print unmarked(before)
	before = $0
	next
}

# ---- help ----

/^[^ ]/ {
	mode = ""
	if (/^Usage:/)
		mode = "usage"
	else if (/^Available output columns/)
		mode = "columns"
	else if (/^Exit codes:/)
		mode = "list"
	else if (/^(Arguments|Example)/)
		mode = ""
	else if (/one of:$/ || /^Options:/)
		mode = "options"
	else if (/:$/ || /\([1-9]\)$/)
		mode = "terms"
	if (what == "help" && /\([1-9]\)$/)
		print
	next
}

what == "usage" {
	if (mode == "usage" && $0 != "")
		print bare($0)
	next
}

mode == "options" && (/^ -/ || /^     -/ || /^       [a-z_]+(=N)?  /) {
	print cut($0)
}

mode == "columns" && /^ +\[?[A-Z_]+\]?  / {
	print cut($0)
}

mode == "terms" && /^ [^ ]/ {
	print cut($0)
}

mode == "list" && /^ [^ ]/ {
	count = split($0, words, ", ")
	for (i = 1; i <= count; i++) {
		sub(/^ /, "", words[i])
		sub(/ .*/, "", words[i])
		print words[i]
	}
}
