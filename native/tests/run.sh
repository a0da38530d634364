#!/bin/sh
# The C tests, the command line's and the installed library's among them: run.sh [release] [address] [thread] [neon], the
# first three if none is named. As released; under Address- and UndefinedBehaviorSanitizer; under ThreadSanitizer; for
# AArch64, emulated (cmake/aarch64-linux-gnu.cmake says what that needs). Needs cmake, pkg-config and a C compiler (CC names
# another one); builds below build/c and leaves the package's own build alone.
set -eu
cd "$(dirname "$0")/../.."
run() {
    name=$1
    shift
    echo "== C tests, $name"
    cmake -S native -B "build/c/$name" -DVULTUS_TESTS=ON "$@" >"build/c/$name.log" 2>&1 ||
        { cat "build/c/$name.log"; exit 1; }
    cmake --build "build/c/$name" --parallel 2 >>"build/c/$name.log" 2>&1 || { tail -50 "build/c/$name.log"; exit 1; }
    ctest --test-dir "build/c/$name" --output-on-failure --no-tests=error
}
mkdir -p build/c
[ $# -gt 0 ] || set -- release address thread
for name; do
    case $name in
    release) run release -DCMAKE_BUILD_TYPE=Release ;;
    address) run address -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVULTUS_SANITIZE=address,undefined ;;
    thread) run thread -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVULTUS_SANITIZE=thread ;;
    neon) (unset CC; run neon --toolchain cmake/aarch64-linux-gnu.cmake -DCMAKE_BUILD_TYPE=Release) ;;
    *) echo "run.sh: no tests are called $name" >&2; exit 2 ;;
    esac
done
