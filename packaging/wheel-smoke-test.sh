#!/usr/bin/env bash
# Builds the sdist, a wheel from that sdist, installs it in a clean environment and uses it from another
# folder, where neither the checkout's packages nor its extensions can be found by accident.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { tail -50 "$work/build.log" >&2; exit 1; }
ls "$work/dist"
wheel=$(ls "$work"/dist/kumo_mta-*.whl)
case $wheel in
*-none-any.whl)
    echo "the wheel holds no extension: $wheel" >&2
    exit 1
    ;;
esac

"$python" -m venv "$work/env"
"$work/env/bin/pip" install --quiet "$wheel"
cp policy/init.lua "$work/init.lua"
cd "$work"
env/bin/kumod --version
env/bin/python -m kumo --version
env/bin/python - <<'PY'
import kumo, kumo_core, pathlib, sys
for package in (kumo, kumo_core):
    assert str(pathlib.Path(package.__file__)).startswith(sys.prefix), package.__file__
scanner = kumo_core.DataScanner()
assert scanner.scan(b"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n") == 24, scanner.scanned
assert scanner.complete
print("kumo", kumo.__version__, "scans", scanner.report())
PY
echo "wheel smoke test passed"
