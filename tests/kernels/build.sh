#!/bin/sh
# Build a tiny kernel for the tests from a kernel tree of any release with KHO.
#
# usage: tests/kernels/build.sh TREE FOLDER [x86_64|arm64] [4k|16k|64k]
#
# The kernel is written to FOLDER under the name that the tests look for; then
# KHOTOOL_KERNELS=FOLDER pytest tests/kernels. It takes five to ten minutes on two idle cores, and
# 1.5 GiB of TMPDIR; the tree stays as it is, and must not have been built in.
# Debian's packages for it: make gcc flex bison bc perl libelf-dev pahole, and
# gcc-aarch64-linux-gnu for arm64; the trees: linux-source-*.
# LOCALCONFIG names a file of further options; JOBS the number of jobs.
set -eu
[ $# -ge 2 ] || { sed -n '2,${/^set -eu/q;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$1" && pwd)
machine=${3:-x86_64}
pages=${4:-4k}
jobs=${JOBS:-$(nproc)}

case $machine in
x86_64) arch=x86 cross='' target=bzImage made=arch/x86/boot/bzImage suffix='' ;;
arm64) arch=arm64 cross=aarch64-linux-gnu- target=Image made=arch/arm64/boot/Image suffix=-arm64-$pages ;;
*) echo "$machine: expected x86_64 or arm64" >&2; exit 2 ;;
esac
# The compiler of the host builds for the host.
case $(uname -m)-$machine in
aarch64-arm64) cross='' ;;
aarch64-x86_64) cross=x86_64-linux-gnu- ;;
esac
case $pages in
4k | 16k | 64k) ;;
*) echo "$pages: expected 4k, 16k or 64k" >&2; exit 2 ;;
esac

# A missing tool would end the build minutes later, without its name; a missing pahole would leave
# a kernel without BTF.
need() { command -v "$1" >/dev/null || { echo "$1 is missing; it is in package $2" >&2; exit 2; }; }
need make make
need gcc gcc
need "${cross}gcc" "gcc-${cross%-}"
need flex flex
need bison bison
need bc bc
need perl perl
need pahole pahole
echo '#include <gelf.h>' | gcc -E - >/dev/null 2>&1 || {
    echo "gelf.h is missing; it is in package libelf-dev" >&2
    exit 2
}
[ -x "$tree/scripts/kconfig/merge_config.sh" ] || { echo "$tree: not a kernel tree" >&2; exit 2; }
[ ! -e "$tree/.config" ] || { echo "$tree: run make mrproper in it first" >&2; exit 2; }

make_tree() { make -s -C "$tree" O="$build" ARCH="$arch" CROSS_COMPILE="$cross" "$@"; }

mkdir -p "$2"
folder=$(cd "$2" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
trap 'exit 130' INT TERM HUP
make_tree tinyconfig
{
    cat "$here/kernel.config"
    if [ "$machine" = arm64 ]; then
        echo CONFIG_SERIAL_AMBA_PL011=y
        echo CONFIG_SERIAL_AMBA_PL011_CONSOLE=y
        echo "CONFIG_ARM64_$(echo "$pages" | tr k K)_PAGES=y"
    fi
    [ -z "${LOCALCONFIG:-}" ] || cat "$LOCALCONFIG"
} >"$build/fragment.config"
(cd "$tree" && scripts/kconfig/merge_config.sh -m -O "$build" "$build/.config" "$build/fragment.config" >/dev/null)
make_tree olddefconfig
for option in KEXEC_FILE KEXEC_HANDOVER; do
    grep -q "^CONFIG_$option=y" "$build/.config" || {
        echo "$tree: this kernel does not get CONFIG_$option; is it 6.16 or later?" >&2
        exit 1
    }
done
make_tree -j "$jobs" "$target"
release=$(make_tree kernelrelease | cut -d. -f1,2)
cp "$build/$made" "$folder/$target-$release$suffix"
echo "$folder/$target-$release$suffix"
