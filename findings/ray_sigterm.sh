#!/usr/bin/env bash
# In Ray 2.60.0 ray.init() replaces the handler that a program installed for SIGTERM. A scheduler's or a
# user's SIGTERM then no longer reaches the program, which wanted to save its state and end: Ray's own handler ends the
# process. Handlers of SIGINT and SIGUSR1 stay. A program that needs its handler has to install it again after ray.init().
#
# Seen on 2026-12-01 (Linux, Python 3.11, no GPU):
#   SIGTERM: ours before ray.init, another after it
#   SIGINT: ours before ray.init, ours after it
#   SIGUSR1: ours before ray.init, ours after it
#   a SIGTERM after ray.init: our handler was not called, the process ended with 15
#   a SIGTERM after ray.init and our handler once more: it was called, the process ended with 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0
cat >"$folder/signals.py" <<'PY'
import os
import signal
import subprocess
import sys
import time

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def ours(number, frame):
    print("called", flush=True)
    os._exit(0)


def child(again):
    for number in NUMBERS:
        signal.signal(number, ours)
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    print(*("ours" if signal.getsignal(number) is ours else "another" for number in NUMBERS), flush=True)
    if again:
        signal.signal(signal.SIGTERM, ours)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


def run(again):
    done = subprocess.run([sys.executable, __file__, again], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = done.stdout.splitlines()
    return lines[0].split() if lines else [], "called" in lines, done.returncode


if len(sys.argv) > 1:
    child(sys.argv[1] == "again")
after, called, code = run("once")
for number, name in zip(NUMBERS, after, strict=True):
    print(f"{number.name}: ours before ray.init, {name} after it")
print(f"a SIGTERM after ray.init: our handler was {'' if called else 'not '}called, the process ended with {code}")
_, called_again, code_again = run("again")
print(f"a SIGTERM after ray.init and our handler once more: it was {'' if called_again else 'not '}called, "
      f"the process ended with {code_again}")
sys.exit(not (after == ["another", "ours", "ours"] and not called and called_again and code_again == 0))
PY
"$folder/venv/bin/python" "$folder/signals.py"
