#!/bin/bash
# An installed Spry can be moved, and is found by pkg-config and by CMake, shared and static.
set -euo pipefail
[ -n "${SPRY_BUILD_DIR:-}" ] || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$SPRY_BUILD_DIR" --prefix "$work/first" >"$work/log"
mv "$work/first" "$work/moved"

library=$(find "$work/moved" -name 'libspry.so.0')
[ "$(objdump -p "$library" | sed -n 's/ *SONAME *//p')" = libspry.so.0 ]
foreign=$(nm -D --defined-only "$library" | awk '{ print $3 }' | grep -v '^spry_' || true)
if [ -n "$foreign" ]; then
    echo "exported without the prefix spry_: $foreign"
    exit 1
fi

cat >"$work/user.c" <<'C'
#include <spry/spry.h>
int main(void)
{
    return 0;
}
C
PKG_CONFIG_PATH=$(dirname "$(find "$work/moved" -name spry.pc)")
export PKG_CONFIG_PATH
read -ra flags <<<"$(pkg-config --cflags --libs spry)"
cc "$work/user.c" -Wl,--no-as-needed "${flags[@]}" -o "$work/user"
LD_LIBRARY_PATH=$(dirname "$library") "$work/user"

cat >"$work/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(spry 0.1 REQUIRED COMPONENTS static)
add_executable(with_shared user.c)
target_link_libraries(with_shared spry::spry)
add_executable(with_static user.c)
target_link_libraries(with_static spry::static)
CMAKE
cmake -S "$work" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" >"$work/log"
cmake --build "$work/build" >"$work/log" || { cat "$work/log"; exit 1; }
"$work/build/with_shared"
"$work/build/with_static"
