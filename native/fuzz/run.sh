#!/bin/sh
# Fuzzes the readers and what stands behind them: native/fuzz/run.sh SECONDS [efm3|onnx|files]; SECONDS are for all together.
# First come the cases of corpus/, which hold whatever was found before. A finding is written to build/fuzz/findings and
# ends the run with status 1; try it alone by build/fuzz/fuzz/fuzz_NAME FILE. Needs clang and its sanitizers
# (Debian: clang libclang-rt-14-dev); CLANG names another one.
set -eu
seconds=${1:?usage: native/fuzz/run.sh SECONDS [efm3|onnx|files]}
names=${2:-efm3 files onnx}
cd "$(dirname "$0")/../.."
build=build/fuzz
cmake -S native -B $build -DCMAKE_C_COMPILER="${CLANG:-clang}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVULTUS_FUZZ=ON >/dev/null
cmake --build $build --parallel 2 --target fuzz_efm3 fuzz_onnx fuzz_files samples >/dev/null
mkdir -p $build/findings $build/seeds
$build/tests/samples $build/seeds 1 >/dev/null
for name in $names; do
    case $name in
    efm3) share=15 ending=efm3 limits="-max_len=32768" ;;
    files) share=5 ending=none limits="-max_len=2048" ;;
    onnx) share=80 ending=onnx limits="-max_len=16384 -dict=native/fuzz/onnx.dict" ;;
    esac
    [ $# -gt 1 ] && share=100
    mkdir -p $build/corpus/$name
    find $build/seeds -name "*.$ending" -exec cp {} $build/corpus/$name/ ';'
    echo "== $name, $((seconds * share / 100)) s"
    # shellcheck disable=SC2086 # a list of options
    $build/fuzz/fuzz_$name -max_total_time=$((seconds * share / 100)) $limits -timeout=60 -rss_limit_mb=2048 -reduce_inputs=1 \
        -print_final_stats=1 -verbosity=${VERBOSITY:-0} -artifact_prefix=$build/findings/$name- $build/corpus/$name \
        native/fuzz/corpus/$name
done
