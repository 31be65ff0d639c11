#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ./dev demo: real data in, exact answers out, and a kill -9 in between. Needs a release build and the Debian package
# dataset-fashion-mnist. Everything it writes is under build/ and removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${POMAI_BUILD:-build/release}
pomai=$build/pomai
threads=$(nproc)

say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}
# field NAME JSON: the value of a key of a flat JSON object.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,}\"]*\).*/\1/p" <<<"$2"; }

[[ -x $pomai && -x $build/bench/bench_demo_truth && -x $build/bench/bench_demo_check ]] ||
    die "$pomai is not built; run ./dev demo, which builds it"
train=$(dpkg -L dataset-fashion-mnist 2>/dev/null | grep 'train-images-idx3-ubyte' || true)
test=$(dpkg -L dataset-fashion-mnist 2>/dev/null | grep 't10k-images-idx3-ubyte' || true)
[[ -r $train && -r $test ]] || die "Fashion-MNIST is missing; install Debian's dataset-fashion-mnist, or run ./dev demo"

dir=$(mktemp -d "${POMAI_DEMO_DIR:-$PWD/build}/demo.XXXXXX")
importer=
clean() {
    [[ -z $importer ]] || kill -9 "$importer" 2>/dev/null || true
    rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM

say "importing 60,000 images of 784 pixels, each batch synced to the disk before it is acknowledged"
import=$("$pomai" import "$dir/fashion.db" "$train" --ids rows --json)
disk_kb=$(du -sk "$dir/fashion.db" | cut -f1)

say "computing the true neighbours of the 10,000 test images by brute force, with no code of the engine"
gunzip -c "$train" >"$dir/train.idx"
gunzip -c "$test" >"$dir/test.idx"
"$build/bench/bench_demo_truth" "$dir/train.idx" "$dir/test.idx" 10000 10 "$dir/truth.ivecs"

say "searching for the 10 nearest of each of the 10,000 test images"
search=$("$pomai" search "$dir/fashion.db" --queries "$test" -k 10 --quiet --json --truth "$dir/truth.ivecs")

say "one of them, as a person sees it"
"$pomai" search "$dir/fashion.db" --queries "$test" --limit 1 -k 3 >&2

say "starting a second importer, to be killed with kill -9"
"$pomai" import "$dir/killed.db" "$train" --batch 100 --ledger "$dir/ledger" --quiet >/dev/null 2>&1 &
importer=$!
enough=$((100 + RANDOM % 200))
until [[ -s $dir/ledger ]] && (($(wc -l <"$dir/ledger") >= enough)); do
    kill -0 "$importer" 2>/dev/null || break
    sleep 0.01
done
{ # quietly: the shell would announce the death
    kill -9 "$importer" || true
    wait "$importer" && code=0 || code=$?
} 2>/dev/null
importer=
((code == 137)) || die "the importer ended with $code before it could be killed"
say "killed process after $(wc -l <"$dir/ledger") acknowledged batches; opening its database and comparing every row"
check=$("$build/bench/bench_demo_check" "$dir/killed.db" "$dir/train.idx" "$dir/ledger") || true
[[ -n $check ]] || die "the database of the killed importer could not be checked"
"$pomai" verify "$dir/killed.db" --quiet

row() { printf '  %-34s %s\n' "$1" "$2"; }
printf '\nFashion-MNIST, 60,000 x 784 float32, l2, on %s threads (%s)\n\n' "$threads" "$(field simd "$search")"
row "ingest, durable (sync)" "$(printf '%.0f vectors/s, %.0f MB/s' "$(field vec_per_s "$import")" "$(field mb_per_s "$import")")"
row "disk" "$((disk_kb * 1024 / 1000000)) MB for 188 MB of vectors"
row "recall of 10, all 10,000 queries" "$(field recall "$search")"
row "exact search" "$(printf '%.0f queries/s' "$(field qps "$search")")"
row "acknowledged when killed" "$(field acknowledged_rows "$check") rows in $(field acknowledged_batches "$check") batches"
row "of them lost / wrong" "$(field lost "$check") / $(field wrong "$check")"
row "rows there after opening again" "$(field stored_rows "$check")"
cat <<END

Try next:
  $pomai import fashion.db $train
  $pomai search fashion.db --queries $test --limit 1 -k 5
  $pomai stats fashion.db
END
[[ $(field lost "$check") == 0 && $(field wrong "$check") == 0 ]] || die "acknowledged rows are lost"
[[ $(field recall "$search") == 1.000000 ]] || die "the recall is $(field recall "$search"), not 1"
