#!/bin/sh
# The C tests, the command line's and the installed library's among them, three times: as released, under Address- and
# UndefinedBehaviorSanitizer, and under ThreadSanitizer. Needs cmake, pkg-config and a C compiler (CC names another one);
# builds below build/c and leaves the package's own build alone.
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
run release -DCMAKE_BUILD_TYPE=Release
run address -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVULTUS_SANITIZE=address,undefined
run thread -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVULTUS_SANITIZE=thread
