#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# A RUSTC_WRAPPER: keeps what `rustc -Zprint-type-sizes` writes to stdout, one file for each crate that is
# compiled, in $KEEP_TYPE_SIZES_IN. Without it the listings of crates built at the same time would mix, and
# nothing would say which crate a path without a crate name belongs to. Build scripts are left out.

name=
extra=
previous=
for argument; do
    case $previous in
    --crate-name) name=$argument ;;
    esac
    case $argument in
    extra-filename=*) extra=${argument#extra-filename=} ;;
    esac
    previous=$argument
done

case $name in
'' | ___ | build_script_*) exec "$@" ;;
*) exec "$@" >"$KEEP_TYPE_SIZES_IN/$name$extra.types" ;;
esac
