#!/bin/sh
# The command line as a user meets it: answers, errors in one line, and what it leaves with. Usage: cli.sh ENGINE SAMPLES
set -eu
engine=$1
samples=$2
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"$samples" "$here"
cd "$here"

fail() {
    echo "FAILED: $*" >&2
    cat out err >&2
    exit 1
}

# run WANTED-STATUS ARGUMENTS...: a failure says why in exactly one line, and nothing else goes to stderr.
run() {
    wanted=$1
    shift
    status=0
    "$engine" "$@" >out 2>err || status=$?
    [ "$status" = "$wanted" ] || fail "$* left with $status, not $wanted"
    lines=$(wc -l <err)
    [ "$lines" = $((wanted != 0)) ] || fail "$*: $lines lines on stderr"
}
says() { # PATTERN FILE
    grep -q -- "$1" "$2" || fail "no '$1' in $2"
}

run 0 --version
says '^vultus-engine [0-9]' out
run 0 --help
for command in info embed compare bench verify; do
    says "^  $command " out
done
for command in info embed compare bench verify; do
    run 0 $command --help
    says "^usage: vultus-engine $command MODEL" out
    run 2 $command
    run 2 $command embedder.efm3 --nonsense
    run 2 $command embedder.efm3 --isa
done

run 0 info embedder.efm3
says 'EFM3 embedder, 112 x 112 pixels to 8 numbers' out
says 'depthwise 3x3/1 8x56x56 -> 8x56x56' out
says '8 numbers, fp32$' out
run 0 info embedder.onnx
says 'blue first' out
run 0 info int8.efm3 --precision int8
says '8 numbers, int8$' out
run 1 info embedder.onnx --precision int8
says 'the model is FP32; `vultus models quantize` makes' err
run 1 info int8.efm3 --precision fp32
says 'the model is INT8' err
run 1 info detector.onnx --precision int8
run 2 info embedder.efm3 --precision int4
run 2 info embedder.efm3 --pin
run 0 info detector.onnx --size 64x32
says 'network, 64 x 32 pixels (or others)' out
says 'output "box", 256 x 3' out
run 0 info detector.onnx --json
says '"any_size": true' out
run 1 info embedder.efm3 --size 64x64
run 1 info nothing.here
says 'nothing.here: No such file' err
run 1 info a.ppm
says 'a.ppm: neither an EFM3' err
run 2 info detector.onnx --size 64
run 2 info detector.onnx --size 0x64
run 2 info embedder.efm3 --raw

run 0 embed embedder.efm3 a.ppm b.ppm
[ "$(wc -l <out)" = 2 ] && [ "$(wc -w <out)" = 16 ] || fail "vectors"
cp out vectors
run 0 embed embedder.efm3 pair.raw --threads 1
cmp -s out vectors || fail "PPM and raw chips differ"
run 0 embed embedder.efm3 pair.raw --threads 2 --pin
cmp -s out vectors || fail "pinned threads compute something else"
run 0 embed --raw embedder.efm3 pair.raw
cmp -s out vectors && fail "--raw changes nothing"
run 0 embed embedder.efm3 a.ppm --json
says '^{"dim": 8, "files": \[{"file": "a.ppm", "vectors": \[\[' out
run 1 embed embedder.efm3 embedder.onnx
says 'embedder.onnx: no binary PPM' err
run 1 embed embedder.onnx a.ppm
says '112 x 112 pixels; the model takes aligned faces of 12 x 12' err
run 1 embed embedder.onnx missing.raw
run 1 embed detector.onnx a.ppm
head -c 1000 pair.raw >cut.raw
run 1 embed embedder.efm3 cut.raw
says '1000 bytes are no whole number of chips' err
: >empty.raw
run 1 embed embedder.efm3 empty.raw

run 0 compare embedder.efm3 a.ppm a.ppm
says '^1.0000$' out
run 0 compare embedder.efm3 a.ppm b.ppm --json
says '^{"cosine": [-0-9.e]*}$' out
run 1 compare embedder.efm3 a.ppm pair.raw
says '2 faces; compare takes one' err

run 0 verify embedder.efm3 golden.npz
says 'largest difference .*: passed$' out
run 0 verify embedder.efm3 golden.npz --isa scalar --tolerance 0
run 0 verify embedder.efm3 wrong.npz --tolerance 1e-2
run 1 verify embedder.efm3 wrong.npz
says 'FAILED$' out
run 1 verify embedder.efm3 wrong.npz --json
says '"passed": false}$' out
run 1 verify embedder.efm3 a.ppm
says 'a.ppm: no zip archive' err
run 1 verify embedder.onnx golden.npz
run 2 verify embedder.efm3 golden.npz --tolerance -1
run 2 verify embedder.efm3 golden.npz --tolerance nan

run 0 bench embedder.efm3 --seconds 0.1 --batch 2 --threads 1
says 'ms a face at best' out
says '%  *the peak\|% of the peak' out
run 0 bench detector.onnx --seconds 0.1 --size 64x64 --json
says '"peak_share": ' out
run 2 bench embedder.efm3 --seconds 0
run 2 bench embedder.efm3 --isa mmx
run 2 bench embedder.efm3 --threads 257
run 2 nonsense
run 2
if [ -e /dev/full ]; then
    "$engine" info embedder.efm3 >/dev/full 2>err && fail "a full disk is not noticed"
    says 'writing the output' err
fi
echo "the command line: all as it should be"
