#!/usr/bin/env bash
# Runs a part of CPython's own regression tests in guests, and on the host for comparison: a few minutes of them. All of them:
# guest-runtime/cpython/README.md. Needs KVM, a C compiler, and a python3 with its tests; Debian's are installed if absent, as root.
#
#   .ci/cpython.sh MAYFLY
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(command -v python3)
if ! "$python" -c 'import test.test_bisect' 2>/dev/null; then
    python=/usr/bin/python3
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "libpython$version-testsuite" >/dev/null
fi
# Shims of version managers are not what runs the tests.
python=$("$python" -c 'import sys; print(sys.executable)')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" runtime build --data-dir "$work" --python "$python" --name tested --with-tests
python3 guest-runtime/cpython/regression --subset --python "$python" --work "$work/results" --report "$work/report.md" \
    --guest "$1 runtime run tested --data-dir $work --memory 1024 --timeout 600 --" ||
    { cat "$work/report.md"; exit 1; }
