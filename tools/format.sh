#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Formats every C file of the tree; with --check only says which are not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(-i)
[[ ${1:-} == --check ]] && mode=(--dry-run -Werror)
find src include cmd examples bench tests -name '*.[ch]' -print0 | xargs -0 -r clang-format --style=file "${mode[@]}"
