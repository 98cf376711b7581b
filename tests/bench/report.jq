# The records of one run (see measure.sh) as Markdown tables. What is shown is
# the median over the rounds; a ratio is the median of the ratios of each round,
# since what is compared was measured one right after the other.

def median: map(select(. != null)) | sort |
  if length == 0 then null
  elif length % 2 == 1 then .[length / 2 | floor]
  else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def of($fields): map(select(. as $r | $fields | to_entries | all(.value == $r[.key])));
def distinct(f): reduce .[] as $r ([]; if index($r | f) == null then . + [$r | f] else . end);
def middle(f): map(f) | median;

# Rounds of those that match $a, each divided by the same round of $b.
def ratio($a; $b; f):
  of($b) as $base | [of($a)[] | . as $r | ($base[] | select(.round == $r.round) | f) as $under |
    select($under > 0) | ($r | f) / $under] | median;

def number($digits):
  if . == null then "–"
  elif $digits == 0 then round | tostring | [while(length > 0; .[:-3]) | .[-3:]] | reverse | join(",")
  else . * pow(10; $digits) | round | tostring |
    (if startswith("-") then "-" else "" end) as $sign | ltrimstr("-") |
    if length <= $digits then "0" * ($digits + 1 - length) + . else . end |
    $sign + .[:-$digits] + "." + .[-$digits:] end;

def row: "| " + join(" | ") + " |";
def table($head): ($head | row), ($head | map("---") | row), (.[] | row);

def verdict($seen; $met): if $seen == null then "not measured" elif $met then "met" else "missed" end;
def at_least($what; $seen; $target): [$what, "at least \($target)", ($seen | number(2)),
  verdict($seen; $seen >= $target)];
def at_most($what; $seen; $target; $unit): [$what, "at most \($target)\($unit)",
  ($seen | number(2)) + (if $seen == null then "" else $unit end), verdict($seen; $seen <= $target)];

# ---- io ------------------------------------------------------------------------

def speed: if .job | startswith("1 MiB") then .mib_s else .iops end;
def io_fields($r): {part: "io", backing: $r.backing, job: $r.job};

# nbdkit reads a main on a disk through the page cache: there it is no peer.
def peers: if .backing == "tmpfs" then ["qemu", "nbdfuse"] else ["qemu"] end;
def against_peer($all): io_fields(.) as $job | [peers[] as $peer | $all |
  ratio($job + {contender: "remapfs"}; $job + {contender: $peer}; speed) | select(. != null)] | min;
def against_raw($all): io_fields(.) as $job | $all |
  ratio($job + {contender: "remapfs"}; $job + {contender: "raw"}; speed);

def io_speed($all): io_fields(.) as $job | . as $r |
  def shown($name): $all | of($job + {contender: $name}) | middle(speed) | number(0);
  [.job + (if .job | startswith("1 MiB") then ", MiB/s" else ", IOPS" end), shown("raw"),
    shown("remapfs"), ($r | against_raw($all) | number(2)), shown("qemu"), shown("nbdfuse"),
    ($r | against_peer($all) | number(2))];

def io_cpu($all): io_fields(.) as $job |
  def shown($name; f): $all | of($job + {contender: $name}) | middle(f) | number(0);
  [.job, shown("raw"; .cpu_us), shown("remapfs"; .cpu_us), shown("remapfs"; .daemon_us),
    shown("qemu"; .cpu_us), shown("nbdfuse"; .cpu_us)];

def io_report: . as $all | of({part: "io"}) | distinct(.backing)[] as $backing |
  of({backing: $backing}) | [distinct({backing, job})[]] |
  "\n## Main on \($backing), O_DIRECT\n",
  (map(io_speed($all)) | table(["", "raw loop", "remapfs", "of raw", "qemu", "nbdfuse",
    "against the better peer"])),
  "\nMicroseconds of CPU for one operation, of the whole machine with fio:\n",
  (map(io_cpu($all)) | table(["", "raw loop", "remapfs", "its daemon alone", "qemu", "nbdfuse"]));

# ---- scale -----------------------------------------------------------------------

def scale_name: if .remaps == 0 then "none" else "\(.remaps | number(0)) \(.shape)" end;
def scale_fields: {part: "scale", shape, remaps};
def none: {part: "scale", shape: "none"};

def scale_row($all): scale_fields as $s |
  def opened($how): $all | of($s + {what: "open", after: $how});
  def look: $all | of($s + {what: "lookup"});
  [scale_name, (opened("close") | middle(.seconds) | number(2)),
    (opened("kill") | middle(.seconds) | number(2)),
    (opened("close") | middle(.resident_kib) / 1024 | number(0)),
    (opened("kill") | middle(.most_kib) / 1024 | number(0)),
    (look | middle(.bytes_per_remap) | number(2)), (look | middle(.lookup_ns) | number(0)),
    (look | middle(.lookup_remapped_ns) | number(0))];

def scale_io($all): scale_fields as $s |
  def cell($io): ($all | of($s + $io) | middle(.iops) | number(0)),
    ($all | ratio($s + $io; none + $io; .iops) | number(2));
  [scale_name] + [{where: "off", rw: "randread"}, {where: "off", rw: "randwrite"},
    {where: "on", rw: "randread"}, {where: "on", rw: "randwrite"} |
    {what: "io"} + . | cell(.)];

def scale_report: . as $all | of({part: "scale"}) | select(length > 0) |
  [distinct({shape, remaps})[]] |
  "\n## Many remaps\n",
  (map(scale_row($all)) | table(["remaps", "open, s", "open after kill -9, s", "resident, MiB",
    "at most after kill -9, MiB", "map bytes a remap", "look-up, ns", "look-up of a remapped one, ns"])),
  "\nRandom I/O at depth 16, IOPS, and against a volume without remaps:\n",
  (map(scale_io($all)) | table(["remaps", "read off them", "", "write off them", "", "read on them",
    "", "write on them", ""]));

# ---- remap -----------------------------------------------------------------------

def rate($n): {part: "remap", what: "rate", writers: $n};
# One flush of the same round, microseconds.
def in_flushes($n): [of(rate($n))[] as $r | of({what: "flush", round: $r.round})[] |
  $r.lat_us / .flush_us] | median;

def rate_row($all): .writers as $n | $all | of(rate($n)) | . as $mine |
  ["\($n)", (middle(.remaps_s) | number(0)), ($all | ratio(rate($n); rate(1); .remaps_s) | number(2)),
    (middle(.lat_us) / 1000 | number(2)), ($all | in_flushes($n) | number(2)),
    (middle(.p99_us) / 1000 | number(2)), ($mine | middle(.remaps / .commits) | number(1))];

def copy_row($all): .bad as $bad | $all | of({part: "remap", what: "copy", bad: $bad}) |
  [if $bad == "raw" then "raw loop" else "\($bad) %" end, (middle(.mkfs_s) | number(2)),
    (middle(.copy_s) | number(2)), (middle(.remapped) | number(0))];

def remap_report: . as $all | of({part: "remap"}) | select(length > 0) |
  (of({what: "flush"}) | middle(.flush_us) / 1000 | number(2)) as $flush |
  "\n## What a remap costs\n\nOne flush takes \($flush) ms here.\n",
  ([of({what: "rate"}) | distinct({writers})[]] | map(rate_row($all)) |
    table(["writers", "remaps/s", "against 1 writer", "latency, ms", "in flushes", "99%, ms",
      "remaps a commit"])),
  "\nmkfs.ext4, and a copy of \(of({what: "copy"})[0].copy_mib) MiB of files until it is durable, seconds:\n",
  ([of({what: "copy"}) | distinct({bad})[]] | map(copy_row($all)) |
    table(["bad sectors", "mkfs.ext4", "copy", "sectors remapped"]));

# ---- targets ----------------------------------------------------------------------

# The worst of the backings; of all jobs with "".
def worst($job; $backings; f): . as $all | [of({part: "io"}) | distinct({backing, job})[] |
  select(.backing as $b | $backings | index([$b]) != null) | select($job == "" or .job == $job) |
  f | select(. != null)] | min;

def targets: . as $all |
  ([of({part: "io"})[].backing] | unique) as $all_backings | ($all_backings - ["tmpfs"]) as $disk |
  def raw($job): worst($job; $disk; against_raw($all));
  def off($rw): ratio({part: "scale", what: "io", shape: "isolated", remaps: 1000000, where: "off",
    rw: $rw}; {part: "scale", what: "io", shape: "none", where: "off", rw: $rw}; .iops);
  def isolated($n): of({part: "scale", shape: "isolated", remaps: $n});
  [
    at_least("4 KiB random read, depth 16, of the raw loop"; raw("4 KiB random read, depth 16"); 0.8),
    at_least("4 KiB random write, depth 16"; raw("4 KiB random write, depth 16"); 0.8),
    at_least("4 KiB random read, depth 1"; raw("4 KiB random read, depth 1"); 0.75),
    at_least("4 KiB random write, depth 1"; raw("4 KiB random write, depth 1"); 0.75),
    at_least("1 MiB sequential read"; raw("1 MiB sequential read, depth 4"); 0.95),
    at_least("1 MiB sequential write"; raw("1 MiB sequential write, depth 4"); 0.95),
    at_least("every row against the better peer"; worst(""; $all_backings; against_peer($all)); 1.5),
    at_least("unremapped reads with 1,000,000 isolated remaps, of none"; off("randread"); 0.97),
    at_least("unremapped writes with them"; off("randwrite"); 0.97),
    at_most("map memory for an isolated remap";
      isolated(1000000) | of({what: "lookup"}) | middle(.bytes_per_remap); 32; " bytes"),
    at_most("open with 10,000,000";
      isolated(10000000) | of({what: "open", after: "close"}) | middle(.seconds); 10; " s"),
    at_most("the same after kill -9";
      isolated(10000000) | of({what: "open", after: "kill"}) | middle(.seconds); 10; " s"),
    at_most("memory with 10,000,000, all in all";
      isolated(10000000) | of({what: "open"}) | middle(.most_kib / 1024); 400; " MiB"),
    at_most("look-up in 1,000,000 isolated remaps";
      isolated(1000000) | of({what: "lookup"}) | middle(.lookup_ns); 200; " ns"),
    at_least("remapped writes at 16 writers, against 1"; ratio(rate(16); rate(1); .remaps_s); 6),
    at_most("latency of one remap"; in_flushes(1); 2.5; " flushes")
  ] | "\n## Targets\n", table(["", "target", "seen", ""]);

# ---- all of it ----------------------------------------------------------------------

(of({part: "machine"})[0] |
  "\(.at[:16] | sub("T"; " ")) UTC; \(.cpus) CPUs (\(.cpu)), \(.memory_mib) MiB, Linux \(.kernel), \(.scratch);",
  "\(.rounds) round\(if .rounds == 1 then "" else "s" end) of \(.seconds) s each, load at the start \(.load)."),
io_report, scale_report, remap_report, targets
