# What the tests of workers that replace one another share; after lib.sh.
# shellcheck shell=bash

# Skips without a kernel that hands unanswered requests to a successor.
requires_resend() {
  [ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ] ||
    skip "this kernel ($(uname -r)) hands no requests to a successor: Linux 6.9 does"
}

another_serves() { # BEFORE
  local now
  now=$(worker_pid) && [ "$now" != null ] && [ "$now" != "$1" ]
}

replace_worker() {
  local before
  before=$(worker_pid)
  kill -9 "$before"
  wait_for 60 another_serves "$before" || fail "no worker follows: $(cat status.json)"
}

# The worker of a supervisor whether it serves or not; "": there is none now.
child_of() { # SUPERVISOR
  tr -d ' ' <"/proc/$1/task/$1/children"
}

another_child() { # SUPERVISOR BEFORE
  local now
  now=$(child_of "$1") && [ -n "$now" ] && [ "$now" != "$2" ]
}
