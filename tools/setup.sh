# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What ./run, ./test, .ci/run and bench/boot share: packages, the build, kernels, initramfs images.
#
# To be sourced by a bash script with `set -euo pipefail`. Each function does nothing, quickly, when its
# work is already done, so that callers simply ask for what they need. Nothing here needs root except
# installing packages, which goes through sudo. Progress goes to stderr, and only for steps that take
# longer than a second; a step that fails shows its whole output.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$ROOT/guests/cache
BUILD=$ROOT/build/release
PROGRAM=${0##*/}

# What building and booting needs.
# shellcheck disable=SC2034  # used by those who source this
PACKAGES=(g++ cmake ninja-build libzydis-dev libzycore-dev libcli11-dev libfmt-dev libgtest-dev
    libgmock-dev libtomlplusplus-dev liblzma-dev liblz4-dev libzstd-dev zlib1g-dev nlohmann-json3-dev libslirp-dev cpio kmod
    xz-utils)
# What the tests need besides.
# shellcheck disable=SC2034
TEST_PACKAGES=(acpica-tools clang e2fsprogs iproute2 libclang-rt-14-dev openssh-client qemu-utils)
# What tools/make-debian-image needs.
# shellcheck disable=SC2034
IMAGE_PACKAGES=(mmdebstrap e2fsprogs fakeroot uidmap debian-archive-keyring)
# What the programs of bench/compare link, besides.
# shellcheck disable=SC2034
BENCH_PACKAGES=(zlib1g-dev libsqlite3-dev libtcc-dev)

die() {
    printf '%s: %s\n' "$PROGRAM" "$1" >&2
    exit "${2:-1}"
}

# An error of the person at the keyboard: one line, exit 2.
usage_error() { die "$1 (see '$PROGRAM --help')" 2; }

# Seconds since $1 (a value of EPOCHREALTIME), with one decimal.
seconds_since() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# Shows the label after one second, and on a terminal the last line of the log as it grows.
show_progress() {
    local label=$1 log=$2 line
    exec 5<> <(:) # nothing ever comes here: a way to wait that leaves no sleep behind when we are killed
    read -r -t 1 -u 5 || true
    if [[ ! -t 2 ]]; then
        printf '%s ...\n' "$label" >&2
        return
    fi
    while kill -0 "$$" 2>/dev/null; do # an interrupted script does not take us along
        line=$(tail -c 400 "$log" 2>/dev/null | tr '\r' '\n' | sed '/^ *$/d' | tail -n 1 | cut -c 1-60)
        printf '\r\033[K%s ... %s' "$label" "${line//[^[:print:]]/}" >&2
        read -r -t 0.5 -u 5 || true
    done
}

# step LABEL COMMAND...: runs the command quietly; says so if it takes long, shows its output if it fails.
step() {
    local label=$1 start=$EPOCHREALTIME log shower status=0
    shift
    log=$(mktemp)
    show_progress "$label" "$log" &
    shower=$!
    "$@" >"$log" 2>&1 </dev/null || status=$?
    kill "$shower" 2>/dev/null || true
    wait "$shower" 2>/dev/null || true
    if ((status != 0)); then
        if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
        cat "$log" >&2
        rm -f "$log"
        die "$label failed (status $status)"
    fi
    rm -f "$log"
    if ((${EPOCHREALTIME/[.,]/} - ${start/[.,]/} >= 1000000)); then
        if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
        printf '%s: done in %s s\n' "$label" "$(seconds_since "$start")" >&2
    fi
}

# apt_get ARGS...: apt-get with the rights and the patience it needs.
apt_get() {
    local command=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@")
    if ((EUID != 0)); then command=(sudo "${command[@]}"); fi
    "${command[@]}"
}

apt_lists_present() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

install_packages() {
    # A broken third-party source must not stop us: whether the packages come is what counts.
    if ! apt_lists_present; then apt_get update || true; fi
    apt_get install -y --no-install-recommends "$@" && return
    apt_get update || true
    apt_get install -y --no-install-recommends "$@"
}

# need_packages NAME...: installs those Debian packages that are missing.
need_packages() {
    local name installed missing=()
    command -v dpkg-query >/dev/null || die "this needs a Debian 12 machine: there is no dpkg here"
    # shellcheck disable=SC2016  # dpkg-query expands the fields
    installed=" $(dpkg-query -W -f='${db:Status-Abbrev}:${Package} ' "$@" 2>/dev/null || true)"
    for name in "$@"; do
        [[ $installed == *" ii :$name "* || $installed == *" hi :$name "* ]] || missing+=("$name")
    done
    ((${#missing[@]} == 0)) && return
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "missing packages; as root, run: apt-get install ${missing[*]}"
        sudo -v || die "sudo is needed once, to run: apt-get install ${missing[*]}"
    fi
    step "installing ${missing[*]}" install_packages "${missing[@]}"
}

# build TARGET...: the release build of these CMake targets; 'all' is everything.
build() {
    if [[ ! -f $BUILD/build.ninja ]]; then
        step "configuring" cmake -S "$ROOT" --preset release
    fi
    step "building" cmake --build "$BUILD" --target "$@"
}

# need_kernel FLAVOUR: the stock kernel, at $CACHE/FLAVOUR/vmlinuz.
need_kernel() {
    [[ -s $CACHE/$1/vmlinuz ]] || step "fetching Debian's $1 kernel" "$ROOT/tools/fetch" kernel "$1"
}

# need_initramfs FLAVOUR [--tests | --stress | --bench | --iperf | --fio]: prints the path of an up-to-date image.
need_initramfs() {
    local image=$CACHE/initramfs-$1${2:+-${2#--}}.cpio
    need_kernel "$1"
    if [[ ${2-} == --stress && ! -x $CACHE/stress/usr/bin/stress-ng ]]; then
        step "fetching stress-ng" "$ROOT/tools/fetch" stress
    fi
    if [[ ${2-} == --iperf && ! -x $CACHE/iperf/usr/bin/iperf3 ]]; then
        step "fetching iperf3" "$ROOT/tools/fetch" iperf
    fi
    if [[ ${2-} == --fio && ! -x $CACHE/fio/usr/bin/fio ]]; then
        step "fetching fio" "$ROOT/tools/fetch" fio
    fi
    [[ -x $CACHE/busybox/bin/busybox ]] || step "fetching busybox" "$ROOT/tools/fetch" busybox
    step "making the $1 initramfs" "$ROOT/tools/make-initramfs" "$1" "$image" "${@:2}"
    printf '%s\n' "$image"
}

# need_debian: Debian 12 as $CACHE/debian.{img,vmlinuz,initrd,toml} and as the folder $CACHE/debian; $CACHE/debian.key opens
# it by SSH.
need_debian() {
    local image=$CACHE/debian.img inputs
    inputs=$(sha256sum <"$ROOT/tools/make-debian-image")
    if [[ -s $image && -s $CACHE/debian.toml && -f $image.inputs && $(<"$image.inputs") == "$inputs" ]]; then return; fi
    need_packages openssh-client
    [[ -s $CACHE/debian.key ]] || ssh-keygen -q -t ed25519 -N '' -C undercroft -f "$CACHE/debian.key" </dev/null
    "$ROOT/tools/make-debian-image" "$image" --ssh-key "$CACHE/debian.key.pub" --folder "$CACHE/debian"
    printf '%s\n' "$inputs" >"$image.inputs"
}
