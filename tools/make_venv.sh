#!/bin/sh
# Makes a virtual environment: make_venv.sh PYTHON FOLDER
set -eu
python=$1
venv=$2
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: $python is not Python 3.11 or newer: give make PYTHON=/path/to/python3" >&2
    exit 2
fi
[ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
rm -rf "$venv"
if "$python" -c 'import ensurepip' 2>/dev/null; then
    exec "$python" -m venv "$venv"
fi
# Debian and Ubuntu keep ensurepip in a package of its own; a pip elsewhere can fill in.
if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --without-pip "$venv"
    exec "$python" -m pip --python "$venv/bin/python" install --quiet pip
fi
echo "error: $python has neither ensurepip nor pip: install python3-venv (apt install python3-venv)" >&2
exit 2
