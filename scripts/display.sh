#!/usr/bin/env bash
# Run a command where a viewer can open: on the display that is there, else in a virtual one.
# Usage: scripts/display.sh [--virtual] COMMAND ...
#   --virtual   take a virtual display even where there is a real one (so that tests don't take over the screen)
# The virtual display is Xvfb with Mesa's software OpenGL. What is missing is installed where root or sudo allows;
# otherwise the packages are named, and nothing is run.
set -euo pipefail
. "${BASH_SOURCE[0]%/*}/as_root.sh"

say() { echo "display: $*"; }
fail() { echo "display: error: $*" >&2; exit 1; }

virtual=no
if [ "${1:-}" = --virtual ]; then
    virtual=yes
    shift
fi
[ $# -gt 0 ] || fail "no command was given"

[ "$(uname -s)" = Linux ] || exec "$@"

libraries="libGL.so.1 libEGL.so.1 libOpenGL.so.0 libxcb-cursor.so.0 libxcb-icccm.so.4 libxcb-image.so.0
    libxcb-keysyms.so.1 libxcb-render-util.so.0 libxcb-xkb.so.1 libxkbcommon-x11.so.0 libfontconfig.so.1
    libdbus-1.so.3"
# The browser engine of Qt, which the tests read reports with.
browser="libnss3.so libnspr4.so libgbm.so.1 libasound.so.2 libXcomposite.so.1 libXdamage.so.1 libXrandr.so.2
    libXtst.so.6 libxkbfile.so.1"
debian="xvfb xauth libgl1 libgl1-mesa-dri libegl1 libopengl0 libxcb-cursor0 libxcb-icccm4 libxcb-image0
    libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1
    libxkbcommon-x11-0 libfontconfig1 libdbus-1-3 libglib2.0-0"
browser_debian="libnss3 libnspr4 libgbm1 libdrm2 libxcomposite1 libxdamage1 libxext6 libxfixes3 libxrandr2 libxtst6
    libxkbfile1 libxcb-dri3-0 libgssapi-krb5-2 libudev1 libexpat1 fonts-dejavu-core"
fedora="xorg-x11-server-Xvfb xorg-x11-xauth mesa-dri-drivers mesa-libGL mesa-libEGL libglvnd-opengl
    xcb-util-cursor xcb-util-wm xcb-util-image xcb-util-keysyms xcb-util-renderutil libxkbcommon-x11
    fontconfig dbus-libs glib2"
browser_fedora="nss nspr mesa-libgbm alsa-lib libXcomposite libXdamage libXrandr libXtst libxkbfile dejavu-sans-fonts"

has_library() {
    # ldconfig is not on the path of every user.
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -F "$1 " >/dev/null
}

# Mesa's software renderer is one driver file, whose name changed over the years.
has_mesa() {
    local found
    found=$(find /usr/lib /usr/lib64 -maxdepth 3 \
        \( -name 'swrast_dri.so' -o -name 'libdril_dri.so' -o -name 'libgallium*.so' \) 2>/dev/null | head -n 1)
    [ -n "$found" ]
}

missing() {
    local name
    for name in "$@"; do
        case $name in
            lib*.so*) has_library "$name" || echo "$name" ;;
            mesa) has_mesa || echo "Mesa's software driver" ;;
            *) command -v "$name" >/dev/null || echo "$name" ;;
        esac
    done
}

install_packages() {
    if command -v apt-get >/dev/null; then
        local sound=libasound2
        # Debian 13 and Ubuntu 24.04 gave it another name.
        [ $virtual = no ] || ! apt-cache show libasound2t64 >/dev/null 2>&1 || sound=libasound2t64
        [ $virtual = no ] || debian="$debian $browser_debian $sound"
        manual="sudo apt-get install $(echo $debian)"
        as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $debian
    elif command -v dnf >/dev/null; then
        [ $virtual = no ] || fedora="$fedora $browser_fedora"
        manual="sudo dnf install $(echo $fedora)"
        as_root dnf install -q -y $fedora
    else
        manual="install Xvfb, xauth, Mesa's OpenGL and the xcb-util libraries with your package manager"
        return 1
    fi >"$log" 2>&1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
manual=""

need() {
    local absent
    absent=$(missing "$@")
    [ -n "$absent" ] || return 0
    say "missing: $(echo $absent); installing"
    install_packages || true
    absent=$(missing "$@")
    if [ -n "$absent" ]; then
        tail -n 5 "$log" >&2
        fail "the viewer needs $(echo $absent). Please run: $manual"
    fi
}

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    if [ "$virtual" = no ] || [ -n "$(missing xvfb-run Xvfb xauth mesa)" ]; then
        # shellcheck disable=SC2086
        need $libraries
        rm -f "$log"
        exec "$@"
    fi
fi

[ $virtual = no ] || libraries="$libraries $browser"
# shellcheck disable=SC2086
need xvfb-run Xvfb xauth mesa $libraries
rm -f "$log"
say "virtual display (Xvfb, 1600 x 1000, software OpenGL)"
unset WAYLAND_DISPLAY
export QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1 NAPARI_SEGNET_VIRTUAL_DISPLAY=1
exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1000x24" "$@"
