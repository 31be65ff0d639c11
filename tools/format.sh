#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Formats every C file of the tree; with --check only names those that are not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -d '' files < <(find src include cmd examples bench tests bindings -name '*.[ch]' -print0 2>/dev/null)
((${#files[@]})) || exit 0
if [[ ${1:-} == --check ]]; then
    found=$(clang-format --style=file --dry-run "${files[@]}" 2>&1 | sed -n 's/: warning:.*//p' | sort -t: -k1,1 -u)
    echo "${found:+$found
}format: ${#files[@]} files, $(grep -c . <<<"$found" || true) not formatted${found:+ (first place of each above); ./dev fmt mends them}"
    [[ -z $found ]]
else
    clang-format --style=file -i "${files[@]}"
fi
