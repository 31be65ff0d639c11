#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh PYTHON PACKAGE TEST [PRELOAD]: one file of tests, by the PYTHON of build/venv with the package in PACKAGE.
# Exits with 77, which ctest shows as skipped, where ./dev could not make that venv.
python=$1 package=$2 test=$3
wanted='import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("hypothesis", "mypy", "numpy", "pytest"))))'
if ! "$python" -c "$wanted" 2>/dev/null; then
    echo "skipped: $python with numpy, pytest, hypothesis and mypy is missing; ./dev test makes it, and says in"
    echo "build/venv.log and build/venv-packages.log why it could not"
    exit 77
fi
export PYTHONPATH="$package" PYTHONDONTWRITEBYTECODE=1
# What a sanitizer prints as it ends the process is not to be caught, and lost, by pytest.
[ -z "$4" ] || export LD_PRELOAD="$4"
exec "$python" -m pytest -q -p no:cacheprovider ${4:+--capture=sys} "$test"
