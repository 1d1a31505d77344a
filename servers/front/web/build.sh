#!/usr/bin/env bash
# Builds what a browser gets. Says what it does and what it installs; a part that is up to date is left alone.
#
#   build.sh           everything: dist, which the front serves
#   build.sh machine   the peer's machine only: dist-wasm/kollator_machine.wasm, which the rest needs
set -euo pipefail
# shellcheck source=../../../testbed/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../../testbed/lib.sh"

WEB=$ROOT/servers/front/web
WASM=wasm32-unknown-unknown

# What is wrong with this machine's Rust for building WebAssembly, if anything is, is mended: by rustup, which brings a
# standard library for it; otherwise by Debian's compiler and the sources of its library, built with the module.
# Sets WASM_ARGS and exports what cargo needs.
prepare_rust() {
    command -v cargo >/dev/null || die "cargo is needed: see https://rustup.rs"
    WASM_ARGS=()
    local libdir
    libdir=$(rustc --print target-libdir --target $WASM 2>/dev/null) || libdir=
    [[ -n $libdir && -d $libdir ]] && return
    if command -v rustup >/dev/null; then
        say "installing Rust's standard library for $WASM with rustup"
        rustup target add $WASM && return
        say "rustup cannot"
    fi
    if ! [[ -x /usr/bin/rustc && -d /usr/lib/rustlib/src/rust/library/std ]]; then
        install_packages rustc-web rust-web-src
    fi
    say "building the standard library for $WASM from Debian's sources"
    local linker
    linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
    if ! [[ -x $linker ]]; then
        install_missing wasm-ld lld
        linker=wasm-ld
    fi
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
    # The library's sources are built with features that only a compiler of its own version may use.
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    WASM_ARGS=(-Zbuild-std=std,panic_abort)
}

build_machine() {
    say "== the peer's machine"
    (
        prepare_rust
        cd "$ROOT"
        # In a folder of its own: its compiler may be another than that of everything else.
        cargo build --locked --profile wasm --package kollator-machine --lib --target $WASM \
            --target-dir "$TARGET_DIR/web" "${WASM_ARGS[@]}"
    )
    mkdir -p "$WEB/dist-wasm"
    cp "$TARGET_DIR/web/$WASM/wasm/kollator_machine.wasm" "$WEB/dist-wasm/"
    PATH=$WEB/node_modules/.bin:$PATH
    install_missing node nodejs
    node "$WEB/machine/check.mjs" "$WEB/dist-wasm/kollator_machine.wasm"
}

case ${1:-all} in
machine) build_machine ;;
all)
    build_machine
    "$WEB/pack.sh"
    ;;
*) die "there is no part '$1'" ;;
esac
