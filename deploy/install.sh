#!/bin/sh
# Into a new virtual environment at VENV: what serving a vertical needs, then the project itself. The image is built by
# this (deploy/Dockerfile), and so is the environment that tests/deploy/test_image.py starts a service from.
#   install.sh VENV libraries VERTICAL EXTRAS     libraries; needs pyproject.toml, README.md and LICENSE only
#   install.sh VENV project                       the code in the working folder
set -eu

venv=$1
# pip works from outside, so that neither it nor setuptools is left in the environment.
pip="python3 -m pip --python $venv/bin/python --disable-pip-version-check --no-input"

case $2 in
  libraries)
    python3 -m venv --without-pip "$venv"
    $pip install --only-binary :all: ".[$3-serve${4:+,$4}]"
    # A third of the size is tests, headers and debug files that no service opens, and Arrow's RPC.
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    find "$site" -depth -type d \( -name tests -o -path '*/pyarrow/include' -o -path '*/pyarrow/src' \) -exec rm -r {} +
    rm -f "$site"/pyarrow/libarrow_flight.so* "$site"/pyarrow/libarrow_python_flight.so* "$site"/pyarrow/_flight*.so
    ;;
  project)
    $pip install --no-deps --force-reinstall .
    ;;
esac
