#!/usr/bin/env bash
# Warp 1.19.0 takes the path of an extra include folder into a module's hash, not only what the folder holds. Two checkouts
# or two environments with the very same headers therefore never share a compiled module: each compiles everything anew,
# although the cache on disk is shared. Our engines give Warp a folder that is named by the headers' contents.
#
# Seen on 2026-11-29 (Linux, Python 3.11, no GPU):
#   same header in two folders: same hash False
#   same folder twice: same hash True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet warp-lang==1.19.0 numpy
mkdir "$folder/one" "$folder/two"
echo '#define HALF 0.5f' | tee "$folder/one/half.h" >"$folder/two/half.h"
cat >"$folder/hashes.py" <<'PY'
import sys

import warp as wp

wp.config.quiet = True
wp.init()


def module_hash(name, include):
    options = wp.ModuleBuildOptions(extra_cpu_include_dirs=[include], extra_cpu_preamble='#include "half.h"\n')
    module = wp.get_module(name)
    wp.set_module_options({"extra_build_options": options, "enable_backward": False}, module)

    @wp.kernel(module=module)
    def double(x: wp.array(dtype=float)):
        x[wp.tid()] = 2.0 * x[wp.tid()]

    return module.get_module_hash()


one, two = sys.argv[1:]
first, second, again = module_hash("a", one), module_hash("b", two), module_hash("c", one)
print("same header in two folders: same hash", first == second)
print("same folder twice: same hash", first == again)
sys.exit(not (first != second and first == again))
PY
"$folder/venv/bin/python" "$folder/hashes.py" "$folder/one" "$folder/two"
