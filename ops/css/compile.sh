#!/bin/sh
# Compiles the sites' style sheet into src/digiid/platform/web/static. Needs npm and the network.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
static="$here/../../src/digiid/platform/web/static"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/digiid.scss" "$work/"
cd "$work"
npm init -y >/dev/null
npm install --silent govuk-frontend@6.6.0 sass@1 >/dev/null
npx sass --style=compressed --no-source-map --quiet digiid.scss "$static/digiid.css"
cp node_modules/govuk-frontend/dist/govuk/govuk-frontend.min.js "$static/govuk-frontend.js"
sed -i "s|//# sourceMappingURL.*||" "$static/govuk-frontend.js"
