#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# build_subject.sh SUBJECT.rs OUTPUT [DWARF VERSION] [MANGLING]: the small program that is damaged, about 30 KB.
# Linked without the standard library, whose debug information would be twenty times its own.
set -eu
: >"$2" # realpath wants it to be there
source=$(realpath "$1") output=$(realpath "$2") dwarf=${3:-5} mangling=${4:-v0}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# RUSTC_BOOTSTRAP: old compilers choose the DWARF version and legacy names with unstable options only.
RUSTC_BOOTSTRAP=1 rustc --edition 2021 --crate-name tokio --crate-type lib --emit obj -O \
	-C debuginfo=2 -C panic=abort -C codegen-units=1 -C symbol-mangling-version="$mangling" \
	-Zdwarf-version="$dwarf" -Zunstable-options \
	--remap-path-prefix "$(dirname "$source")=src" --remap-path-prefix "$folder=." \
	--remap-path-prefix "$(rustc --print sysroot)=rust" "$source" -o subject.o
"${CC:-cc}" -shared -nostdlib -Wl,-Bsymbolic subject.o -o "$output"
