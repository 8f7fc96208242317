#!/bin/sh
# Installs the programs that judge us from outside, where this machine allows it. Tests that miss one skip visibly.
set -u
packages="chromium opensc pcscd vsmartcard-vpcd softhsm2 libengine-pkcs11-openssl gnutls-bin openssl postgresql fonts-dejavu-core poppler-utils qpdf iproute2 util-linux libdigidoc-tools libxml-security-java"
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
  echo "No apt here: tests that need$missing will be skipped."; exit 0
fi
if [ -n "${DIGIID_NO_APT:-}" ]; then
  echo "DIGIID_NO_APT is set: tests that need$missing will be skipped."; exit 0
fi
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
  echo "Not root: tests that need these packages will be skipped:$missing"
  echo "To run them too: sudo apt-get install -y$missing"; exit 0
fi
echo "Installing with apt, for the tests only:$missing"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
  echo "apt could not install all of them; tests that miss a program will be skipped."
