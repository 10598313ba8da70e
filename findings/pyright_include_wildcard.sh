#!/usr/bin/env bash
# pyright checks nothing below "packages/*/src" and says "0 errors". Its documentation lets paths of `include` have wildcards,
# with * for any characters but the slash. Where a name without a wildcard follows, the folders match, and the files below
# them do not; a path without wildcards includes its folder's files, and so do "packages/**/src" and "packages/*/src/**". With
# one file that is named as well there is not even the note that no source files were found. A repository of several
# packages so passes its type check unread.
#
# Seen on 2026-11-30 (Linux, Python 3.11, pyright 1.1.414), files checked of a package with one file, which has an error:
#   packages/*/src: 0, packages/**/src: 1, packages/*/src/**: 1, packages/one/src: 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "pyright[nodejs]==1.1.414"
mkdir -p "$folder/work/packages/one/src/one"
cd "$folder/work"
echo 'number: int = "text"' >packages/one/src/one/__init__.py
seen=""
for include in 'packages/*/src' 'packages/**/src' 'packages/*/src/**' 'packages/one/src'; do
    printf '{"include": ["%s"]}\n' "$include" >pyrightconfig.json
    checked=$("$folder/venv/bin/pyright" --stats 2>/dev/null | sed -n 's/^Total files checked: *//p' || true)
    seen+="$include: $checked"$'\n'
done
printf '%s' "$seen"
[[ "$seen" == 'packages/*/src: 0'$'\n''packages/**/src: 1'$'\n''packages/*/src/**: 1'$'\n''packages/one/src: 1'$'\n' ]] ||
    { echo "this has changed" >&2; exit 1; }
