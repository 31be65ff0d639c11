#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh PROGRAM SECONDS [OPTIONS]: runs a libFuzzer target on its corpus, which stays as it is, and then on what it makes
# of it. New inputs go beside the program, into new/<name>; what failed goes there too and is named at the end.
set -euo pipefail
program=$1 seconds=$2
name=$(basename "$program")
name=${name#fuzz_}
corpus=$(dirname "$0")/corpus/$name
new=$(dirname "$program")/new/$name
# It ends when more whole seconds have gone by, which is one later; 0 would be for ever.
most=$((seconds > 1 ? seconds - 1 : 1))
mkdir -p "$new/inputs"
directories=("$new/inputs")
[[ ! -d $corpus ]] || directories+=("$corpus")
exec "$program" -max_total_time="$most" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$new/" "${@:3}" "${directories[@]}"
