#!/bin/sh
# The library as another program meets it: installed, found by pkg-config and by CMake, static and shared, exporting its
# public functions and nothing else. Usage: install.sh BUILD SAMPLES SOURCE
set -eu
build=$1
samples=$2
source=$3
command -v pkg-config >/dev/null || { echo "pkg-config is missing"; exit 77; }
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"$samples" "$here"
cmake --install "$build" --prefix "$here/first" >/dev/null
mv "$here/first" "$here/usr" # what was installed may be moved
cd "$here"
lib=$(dirname "$(find usr -name 'libvultus.so')")
export PKG_CONFIG_PATH="$here/$lib/pkgconfig" LD_LIBRARY_PATH="$here/$lib"

declared=$(grep -o '^VULTUS_API.*(' usr/include/vultus/vultus.h | grep -o 'vultus_[a-z0-9_]*(' | tr -d '(' | sort)
exported=$(nm --dynamic --defined-only "$lib/libvultus.so" | awk '{print $3}' | sort)
[ "$declared" = "$exported" ] || { echo "FAILED: the header declares $declared; the library exports $exported"; exit 1; }
version=$(pkg-config --modversion vultus)
objdump -p "$lib/libvultus.so" | grep -q "SONAME *libvultus.so.${version%.*}\$"
usr/bin/vultus-engine --version | grep -q " $version\$"

# Warnings are errors here too: a user may be as strict as we are.
strict="-std=c11 -Wall -Wextra -Wpedantic -Werror"
# shellcheck disable=SC2046,SC2086 # lists of words
{
    cc $strict "$source/examples/similarity.c" $(pkg-config --cflags --libs vultus) -o shared
    cc $strict "$source/examples/similarity.c" $(pkg-config --cflags vultus) \
        "$lib/libvultus.a" $(pkg-config --static --libs-only-other vultus) -lm -o static
}
ldd shared | grep -q libvultus.so
ldd static | grep -q libvultus.so && { echo "FAILED: the static example wants the shared library"; exit 1; }
one=$(./shared embedder.efm3 pair.raw)
[ "$one" = "$(./static embedder.efm3 pair.raw)" ]
[ "$one" = "$(usr/bin/vultus-engine compare embedder.efm3 a.ppm b.ppm)" ]
./shared embedder.efm3 a.ppm >/dev/null 2>err && exit 1
grep -q 'holds no two chips' err

mkdir consumer
cat >consumer/CMakeLists.txt <<EOF
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES C)
find_package(vultus ${version%.*} REQUIRED)
foreach(kind vultus vultus_static)
  add_executable(with_\${kind} "$source/examples/similarity.c")
  target_link_libraries(with_\${kind} PRIVATE vultus::\${kind})
endforeach()
EOF
cmake -S consumer -B consumer/build -DCMAKE_PREFIX_PATH="$here/usr" >/dev/null
cmake --build consumer/build >/dev/null
[ "$one" = "$(consumer/build/with_vultus embedder.efm3 pair.raw)" ]
[ "$one" = "$(consumer/build/with_vultus_static embedder.efm3 pair.raw)" ]
echo "installed $version: pkg-config and CMake, static and shared, say $one"
