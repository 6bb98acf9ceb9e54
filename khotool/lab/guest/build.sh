#!/bin/sh
# Build what khotool runs inside guests. The same compiler gives the same bytes.
#
# usage: khotool/lab/guest/build.sh [OUTPUT-FOLDER]
#
# CC_X86_64 and CC_AARCH64 name the compilers; a machine whose compiler is missing is left out.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
flags="-std=gnu11 -Os -Wall -Wextra -Werror -ffreestanding -fno-builtin -fno-stack-protector
  -fno-asynchronous-unwind-tables -fno-ident -fno-pic -fno-pie"

build() {
    machine=$1 cc=$2
    shift 2
    command -v "$cc" >/dev/null || { echo "no $cc: $machine is left out" >&2; return 0; }
    tools=${cc%gcc}
    # shellcheck disable=SC2086
    "$cc" $flags "$@" -static -nostdlib -no-pie -s -Wl,--build-id=none \
        -Wl,-N,-z,noexecstack,--no-warn-rwx-segments -o "$out/agent-$machine" agent.c
    flat "$tools" "stop-$machine"
}

flat() {
    "$1as" -o "$out/$2.o" "$2.S"
    "$1objcopy" -O binary -j .text "$out/$2.o" "$out/$2.bin"
    rm -f "$out/$2.o"
}

build x86_64 "${CC_X86_64:-gcc}" -mno-sse -mno-red-zone -fcf-protection=none
build aarch64 "${CC_AARCH64:-aarch64-linux-gnu-gcc}" -mgeneral-regs-only -mno-outline-atomics
tools=${CC_X86_64:-gcc}
tools=${tools%gcc}
flat "$tools" enter-x86_64
{
    "${CC_X86_64:-gcc}" --version | head -n 1
    "${CC_AARCH64:-aarch64-linux-gnu-gcc}" --version 2>/dev/null | head -n 1
} >"$out/compilers.txt"
