#!/usr/bin/env bash
# scipy 1.17.1 offers the rank test of Mann and Whitney by several methods that should agree. A sample of one value is
# valid: method="exact" and "asymptotic" take it, and three values against one have 4 possible divisions, so the exact
# test is small. With method=PermutationMethod(), the one that is right where values are equal, the same call raises
# ValueError: each sample needs two or more observations. permutation_test, to which it goes, says the same of any
# statistic. A comparison of one run with several thus works until two of the values are equal and a program changes to
# permutations. It has to count the divisions by itself for a sample of one.
#
# Seen on 2026-12-01 (Linux, Python 3.11):
#   exact, one value of four: p = 0.5
#   asymptotic, one value of four: p = 0.3711
#   permutations, two values of five: p = 0.2
#   permutations, one value of four: ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
cat >"$folder/one.py" <<'PY'
import sys

from scipy.stats import PermutationMethod, mannwhitneyu

SEVERAL = [2.0, 3.0, 4.0]
seen = []
for name, method, few in (
    ("exact", "exact", [1.0]),
    ("asymptotic", "asymptotic", [1.0]),
    ("permutations", PermutationMethod(), [1.0, 1.5]),
    ("permutations", PermutationMethod(), [1.0]),
):
    try:
        seen.append(f"p = {mannwhitneyu(few, SEVERAL, method=method).pvalue:.4g}")
    except ValueError as error:
        seen.append(type(error).__name__)
    count = f"{'one value' if len(few) == 1 else 'two values'} of {'four' if len(few) == 1 else 'five'}"
    print(f"{name}, {count}: {seen[-1]}")
sys.exit(seen != ["p = 0.5", "p = 0.3711", "p = 0.2", "ValueError"])
PY
"$folder/venv/bin/python" "$folder/one.py"
