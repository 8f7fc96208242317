#!/bin/sh
# Makes the virtual environment from requirements.lock. A stamp of what went in lets the next call return at once.
set -eu
venv=$1
stamp="$venv/.digiid-setup"
python=${DIGIID_PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "digiid needs Python 3.11 or newer; found: $("$python" --version 2>&1 || echo none). Set DIGIID_PYTHON to another one." >&2
  exit 2
fi
want=$(cat requirements.lock pyproject.toml ops/setup.sh | sha256sum | cut -d' ' -f1; "$python" --version; pwd)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ -z "${DIGIID_NO_APT:-}" ]; then
    echo "Installing python3-venv …"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
  else
    echo "Python here cannot make virtual environments. Run this once, then again what you ran:" >&2
    echo "  sudo apt-get install -y python3-venv" >&2
    exit 2
  fi
fi

echo "Setting up $venv (once; about a minute) …"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
printf '%s' "$want" > "$stamp"
