#!/bin/bash
# The page of remapctl report in a real browser: it draws its map, zooms, and
# loads nothing.
. "$(dirname "$0")/look.sh"
requires python3 chromium

# dom PAGE: as it is when its scripts have run, to ./dom; what the browser says to ./console.
dom() {
  BOUND=150 bounded chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --enable-logging=stderr \
    --user-data-dir="$SCRATCH/profile" --virtual-time-budget=2000 --dump-dom "file://$SCRATCH/$1" \
    >dom 2>console </dev/null || skip "chromium does not run here: $(tail -1 console)"
  ! grep -E 'CONSOLE.*(rror|efused)' console || fail "the page has an error (above)"
}

# count REGEX: how often it is in the page.
count() {
  grep -oE -- "$1" dom | wc -l
}

# act PAGE SCRIPT: the same page with somebody who clicks.
act() {
  sed "s|</body>|<script>$2</script></body>|" r.html >"$1"
}

volume_with_a_past
remapctl report -o r.html v.db
dom r.html
[ "$(count '<rect class="c[0-3] zoomable"')" = 2048 ] || fail "$(count '<rect class="c[0-3] zoomable"') blocks"
[ "$(count '<rect class="c1 zoomable"')" = 10 ] || fail "remapped blocks"
[ "$(count '<rect class="c2 zoomable"')" = 1 ] && [ "$(count '<rect class="c3 zoomable"')" = 1 ] ||
  fail "pending blocks"
[ "$(count 'id="controls" hidden')" = 0 ] || fail "there is nothing to zoom with"

# Closer, at the block of sector 5000: every sector is a block, and three are pending.
act zoomed.html 'document.querySelectorAll("#blocks rect")[1250].dispatchEvent(new MouseEvent("click"))'
dom zoomed.html
[ "$(count '<rect class="c2" rx')" = 3 ] || fail "$(count '<rect class="c2" rx') sectors are pending"
grep -q '<title>sector 5.*000: 1 pending</title>' dom || fail "sector 5000 is not told of"
grep -q 'each a block' dom || fail "the range is not told"

# And back: as it was.
act back.html 'document.querySelectorAll("#blocks rect")[1250].dispatchEvent(new MouseEvent("click")); document.getElementById("all").click()'
dom back.html
[ "$(count '<rect class="c1 zoomable"')" = 10 ] || fail "the whole disk is not as it was"
echo "the page draws and zooms"
