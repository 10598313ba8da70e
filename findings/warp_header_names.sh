#!/usr/bin/env bash
# Warp 1.19.0 looks for an included header in its own folder before the folders of ModuleBuildOptions.extra_cpu_include_dirs.
# A header of yours that has the name of one of Warp's (spatial.h, svd.h, sort.h, scan.h, mesh.h, vec.h, ...) is therefore
# left out without a word: Warp's own has been included already. It is found only from a header in the same folder. The
# compiler then reports that your types and functions are unknown. Our engines avoid those names.
#
# Seen on 2026-11-29 (Linux, Python 3.11, no GPU):
#   half.h: compiled
#   svd.h: not compiled
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet warp-lang==1.19.0 numpy
mkdir "$folder/headers"
for name in half svd; do
    printf '#pragma once\nstatic inline float half_of(float x) { return 0.5f * x; }\n' >"$folder/headers/$name.h"
done
cat >"$folder/compile.py" <<'PY'
import sys

import warp as wp

folder, header = sys.argv[1:]
wp.config.quiet = True
wp.config.kernel_cache_dir = f"{folder}/cache"
wp.init()
options = wp.ModuleBuildOptions(
    extra_cpu_include_dirs=[f"{folder}/headers"], extra_cpu_preamble=f'#include "{header}"\n'
)
module = wp.get_module(f"finding_{header[:-2]}")
wp.set_module_options({"extra_build_options": options, "enable_backward": False}, module)


@wp.func_native("return half_of(x);")
def half(x: float) -> float: ...


@wp.kernel(module=module)
def halve(x: wp.array(dtype=float)):
    x[wp.tid()] = half(x[wp.tid()])


x = wp.ones(1, dtype=float, device="cpu")
try:
    wp.launch(halve, dim=1, inputs=[x], device="cpu")
    print(f"{header}: compiled")
except Exception:
    print(f"{header}: not compiled")
PY
seen=$(for header in half.h svd.h; do "$folder/venv/bin/python" "$folder/compile.py" "$folder" "$header" 2>/dev/null; done | grep "^[a-z]*\.h: ")
echo "$seen"
[[ "$seen" == "half.h: compiled"$'\n'"svd.h: not compiled" ]] || { echo "this has changed" >&2; exit 1; }
