#!/usr/bin/env bash
# rliable 1.2.0 does not import in a fresh environment. It allows arch below 8, whose newest release, 7.2.0, calls a helper
# that pandas keeps for itself (deprecate_kwarg) the way pandas 2 had it; pandas 3 takes its arguments in another order. No
# package forbids the combination, and the error names neither rliable nor pandas. An older arch does not help (7.0.0 fails
# in the same way); pandas below 3 does.
#
# Seen on 2026-11-29 (Linux, Python 3.11):
#   pandas 3.0.6: TypeError: deprecate_kwarg() missing 1 required positional argument: 'new_arg_name'
#   pandas 2.3.3: imported
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
seen=""
for pandas in 3.0.6 2.3.3; do
    "$folder/venv/bin/pip" install --quiet rliable==1.2.0 arch==7.2.0 "pandas==$pandas"
    found=$("$folder/venv/bin/python" -c 'from rliable import library; print("imported")' 2>&1 | tail -n 1 || true)
    seen+="pandas $pandas: $found"$'\n'
done
printf '%s' "$seen"
[[ "$seen" == "pandas 3.0.6: TypeError: deprecate_kwarg() missing"*$'\n'"pandas 2.3.3: imported"$'\n' ]] ||
    { echo "this has changed" >&2; exit 1; }
