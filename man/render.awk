# Turns a page of this folder into what scdoc reads:
#
#     awk -v version=0.1.0 -v docs=../docs -f render.awk remapfs.7.scd | scdoc >remapfs.7
#
# @VERSION@ becomes the version, and <size> is emphasised. A line
#
#     @include format.md without The database, Another heading
#
# becomes that Markdown file, less its title and the sections named. It knows the
# Markdown that those files use: headings, paragraphs, lists, tables, quotes,
# and in them bold, emphasis, code and links.

function escaped(text) {
	gsub(/\\/, "\\\\\\\\", text)
	gsub(/[*_]/, "\\\\&", text)
	return text
}

# A link is its text, or the page that holds what it leads to.
function without_links(text,    link, name) {
	while (match(text, /\[[^]]*\]\([^)]*\)/)) {
		link = substr(text, RSTART, RLENGTH)
		name = substr(link, 2, index(link, "](") - 2)
		if (link ~ /\(format\.md\)$/)
			name = "**remapfs**(5)"
		else if (link ~ /\(guarantees\.md\)$/)
			name = "**remapfs**(7)"
		text = substr(text, 1, RSTART - 1) name substr(text, RSTART + RLENGTH)
	}
	return text
}

# Bold is a pair of stars in Markdown and one in scdoc; emphasis is one, and _.
function plain(text,    done) {
	gsub(/_/, "\\_", text)
	while (match(text, /\*\*[^*]+\*\*|\*[^* ][^*]*\*/)) {
		done = done substr(text, 1, RSTART - 1)
		if (substr(text, RSTART, 2) == "**")
			done = done "*" substr(text, RSTART + 2, RLENGTH - 4) "*"
		else
			done = done "_" substr(text, RSTART + 1, RLENGTH - 2) "_"
		text = substr(text, RSTART + RLENGTH)
	}
	return done text
}

function inline(text,    parts, count, i, done) {
	count = split(without_links(text), parts, "`")
	for (i = 1; i <= count; i++)
		done = done (i % 2 ? plain(parts[i]) : "*" escaped(parts[i]) "*")
	return done
}

# What was gathered of a paragraph, a list item or a quote.
function flush_block() {
	if (block == "")
		return
	print prefix inline(block)
	block = ""
}

# Between blocks of different kinds, and between paragraphs.
function begin(kind, with, text) {
	flush_block()
	if (kind != last || kind == "text")
		print ""
	last = kind
	prefix = with
	block = text
}

function table_row(line, first,    cells, count, i) {
	gsub(/^\| *| *\|$/, "", line)
	count = split(line, cells, / *\| */)
	for (i = 1; i <= count; i++)
		print (i > 1 ? ":" : first ? "[" : "|") (first ? "[ " : "  ") inline(cells[i])
}

function markdown_line(line) {
	if (line ~ /^## /) {
		flush_block()
		last = ""
		skipping = (", " without ", ") ~ (", " substr(line, 4) ", ")
		if (!skipping)
			print "\n# " toupper(substr(line, 4))
	} else if (skipping || line ~ /^# / || line ~ /^\| *---/)
		return
	else if (line == "") {
		flush_block()
		last = last == "text" ? "" : last
	} else if (line ~ /^\| /) {
		flush_block()
		if (last != "table")
			print ""
		table_row(line, last != "table")
		last = "table"
	} else if (line ~ /^\* /)
		begin("bullets", "- ", substr(line, 3))
	else if (line ~ /^[0-9]+\. /)
		begin("numbers", ". ", substr(line, index(line, ".") + 2))
	else if (line ~ /^> /) {
		if (block != "" && last == "quote")
			block = block " " substr(line, 3)
		else
			begin("quote", "\t", substr(line, 3))
	} else if (block != "") {
		sub(/^ +/, "", line)
		block = block " " line
	} else
		begin("text", "", line)
}

# What a user puts in the place of <size>.
function with_placeholders(text,    done) {
	while (match(text, /<[a-z]+>/)) {
		done = done substr(text, 1, RSTART - 1) "_" substr(text, RSTART + 1, RLENGTH - 2) "_"
		text = substr(text, RSTART + RLENGTH)
	}
	return done text
}

function include(file,    line, code) {
	skipping = 0
	last = block = ""
	while ((code = (getline line <file)) > 0)
		markdown_line(line)
	if (code < 0) {
		print "render.awk: cannot read " file >"/dev/stderr"
		exit 1
	}
	flush_block()
	close(file)
}

/^@include / {
	file = $2
	without = $0
	if (!sub(/^.* without /, "", without))
		without = ""
	include(docs "/" file)
	next
}

/^```/ {
	literal = !literal
}

!literal {
	gsub(/@VERSION@/, version)
	$0 = with_placeholders($0)
}

{
	print
}
