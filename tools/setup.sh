#!/bin/sh
# Installs what Spry's own targets need and the machine lacks, on Debian 12 or a relative of it.
#   tools/setup.sh [build] [test] [lint] [docs] [bench] [aarch64]      default: build test lint
# Never asks: as root it calls apt-get, otherwise sudo without a password, otherwise it says what
# to type. Does nothing, quickly, where everything is there.
set -eu

packages_build="gcc libc6-dev cmake ninja-build pkg-config ccache libcmocka-dev
    libjansson-dev libhwloc-dev libzip-dev zlib1g-dev libturbojpeg0-dev libpng-dev libwebp-dev
    libutf8proc-dev"
packages_test="clang libclang-rt-dev llvm libonnx-testdata python3"
case $(uname -m) in
x86_64) packages_test="$packages_test qemu-user valgrind" ;;
esac
packages_lint="clang clang-format g++ pmccabe codespell python3"
packages_docs="doxygen cmake ninja-build"
# The same libraries for 64-bit Arm: dpkg must be told of that architecture first.
packages_aarch64="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
for package in $packages_build; do
    case $package in
    lib*-dev) [ "$package" = libc6-dev ] || packages_aarch64="$packages_aarch64 $package:arm64" ;;
    esac
done
packages_bench="libdnnl-dev libxsmm-dev libgraphblas-dev python3-numpy python3-onnx python3-torch python3-torchvision"
# Node.js often comes from elsewhere; Debian's must not replace that.
command -v npm >/dev/null || packages_bench="$packages_bench nodejs npm"

wanted=""
for group in ${*:-build test lint}; do
    case $group in
    build) wanted="$wanted $packages_build" ;;
    test) wanted="$wanted $packages_test" ;;
    lint) wanted="$wanted $packages_lint" ;;
    docs) wanted="$wanted $packages_docs" ;;
    bench) wanted="$wanted $packages_bench" ;;
    aarch64) wanted="$wanted $packages_aarch64" ;;
    *)
        echo "tools/setup.sh: no group is called '$group' (build, test, lint, docs, bench, aarch64)" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: this is no Debian; the build goes on with what is there. Spry needs:" $wanted >&2
    exit 0
fi

# dpkg-query also lists packages that were removed; only "installed" counts.
present=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n${db:Status-Status} ${Package}:${Architecture}\n' $wanted 2>/dev/null |
    sed -n 's/^installed //p' || true)
missing=""
for package in $wanted; do
    case "
$present
" in
    *"
$package
"*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "setup: these packages are missing, and neither root nor sudo is at hand. Type:" >&2
    echo "    apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi

echo "setup: installing$missing"
install_missing() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 --no-install-recommends $missing
}
case $missing in
*:arm64*) $as_root dpkg --add-architecture arm64 ;;
esac
# Package lists may be absent (a fresh container) or stale (an old one): refresh, then install.
$as_root apt-get update -qq
install_missing >/dev/null
