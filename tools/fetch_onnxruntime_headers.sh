#!/bin/sh
# Puts ONNX Runtime's C++ headers into build/onnxruntime-headers:
# fetch_onnxruntime_headers.sh [PYTHON]
#
# Does nothing where CMake finds headers without it. From a Debian machine's own package mirror,
# else from ONNX Runtime's release page. Where neither can be reached it says so and succeeds: the
# package is then installed without its native library.
set -eu
python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/build/onnxruntime-headers
version=1.21.0

[ -z "${ONNXRUNTIME_ROOT:-}" ] || exit 0
for prefix in /usr /usr/local; do
    for folder in . onnxruntime onnxruntime/core/session; do
        [ ! -f "$prefix/include/$folder/onnxruntime_cxx_api.h" ] || exit 0
    done
done
[ ! -f "$target/include/onnxruntime/onnxruntime_cxx_api.h" ] || exit 0

mkdir -p "$root/build"
work=$(mktemp -d "$root/build/headers.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Every mirror in this machine's apt sources, which have two formats.
debian_mirrors() {
    for list in /etc/apt/sources.list.d/*.sources; do
        [ ! -f "$list" ] || sed -n 's/^URIs:[[:space:]]*//p' "$list" | tr ' \t' '\n\n'
    done
    options='\(\[[^]]*\][[:space:]]*\)\{0,1\}'
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -f "$list" ] || sed -n "s/^deb[[:space:]]\{1,\}$options\([^[:space:]]*\).*/\2/p" "$list"
    done
}

# Debian's package for a newer release of Debian: headers do not depend on the release.
from_debian() {
    helper=/usr/lib/apt/apt-helper
    [ -x "$helper" ] && command -v dpkg-deb >/dev/null || return 1
    [ "$(dpkg --print-architecture)" = amd64 ] || return 1
    file=libonnxruntime-dev_${version}+dfsg-1_amd64.deb
    hash=14f7d959d5deacbcf1504830d4189f91fc67382b399ed9ae9d3aa9c4050ced08
    for mirror in $(debian_mirrors | grep '/debian/*$' | sort -u); do
        url=${mirror%/}/pool/main/o/onnxruntime/$file
        if "$helper" download-file "$url" "$work/headers.deb" "SHA256:$hash" >/dev/null 2>&1; then
            mkdir "$work/unpacked"
            dpkg-deb -x "$work/headers.deb" "$work/unpacked"
            mv "$work/unpacked/usr/include" "$work/include"
            return 0
        fi
    done
    return 1
}

# The project publishes no hash for its archives that could be pinned here: only headers are taken.
from_release() {
    "$python" - "$version" "$work" 2>/dev/null <<'PYTHON'
import io, pathlib, sys, tarfile, urllib.request

version, work = sys.argv[1:]
name = f"onnxruntime-linux-x64-{version}"
url = f"https://github.com/microsoft/onnxruntime/releases/download/v{version}/{name}.tgz"
with urllib.request.urlopen(url, timeout=30) as response:
    archive = tarfile.open(fileobj=io.BytesIO(response.read()))
folder = pathlib.Path(work, "include", "onnxruntime")
folder.mkdir(parents=True)
for member in archive:
    path = pathlib.PurePosixPath(member.name)
    if member.isfile() and path.parent == pathlib.PurePosixPath(name, "include"):
        folder.joinpath(path.name).write_bytes(archive.extractfile(member).read())
PYTHON
}

fetch() {
    "$1" && [ -f "$work/include/onnxruntime/onnxruntime_cxx_api.h" ]
}

if fetch from_debian || { rm -rf "$work/include" "$work/unpacked"; fetch from_release; }; then
    rm -rf "$target"
    mkdir "$work/done"
    mv "$work/include" "$work/done/include"
    mv "$work/done" "$target"
    exit 0
fi
cat >&2 <<EOT
notice: ONNX Runtime's headers could not be fetched, so the package is installed without its native
library and ONNX Runtime runs the fused ops by their function bodies: correct, but slower. For the
library install libonnxruntime-dev, or unpack an ONNX Runtime release (1.21 or newer) and set
ONNXRUNTIME_ROOT to it, then set up again.
EOT
