#!/bin/sh
# A GPU machine without a network (docs/gpu-machine.md), with the python3 that it has:
#   gpu_machine.sh unpack DIR… [--home FOLDER]   takes pieces of a bundle, and says what is there
#   gpu_machine.sh test …                        the tests that need a GPU
#   gpu_machine.sh measure …                     the benchmarks
# The home is --home or $DDGAN_GPU_HOME, else ddgan-gpu in the current folder.
set -eu
fail() {
    echo "error: $1" >&2
    exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
home=${DDGAN_GPU_HOME:-ddgan-gpu}
command -v python3 >/dev/null || fail "python3 is not on PATH: Python 3.11 or newer is needed"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "python3 is $(python3 --version 2>&1): Python 3.11 or newer is needed"
case ${1:-} in
unpack)
    shift
    # The folder of the bundle stays as it came.
    exec python3 -B "$here/gpu_machine/unpack.py" "$@"
    ;;
test | measure)
    run=$home/src/tools/gpu_machine/run.py
    [ -f "$home/env.sh" ] && [ -f "$run" ] ||
        fail "$home has no unpacked bundle: run gpu_machine.sh unpack DIR first, or set DDGAN_GPU_HOME to its home"
    case $home in /*) ;; *) home=./$home ;; esac
    . "$home/env.sh"
    exec python3 "$run" "$@"
    ;;
-h | --help | help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" ;;
*) fail "give a command: gpu_machine.sh unpack DIR, gpu_machine.sh test or gpu_machine.sh measure" ;;
esac
