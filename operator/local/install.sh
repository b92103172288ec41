#!/bin/sh
# Installs the npm packages, with any npm and any Node >= 20. The project itself runs on the Node that the
# package "node" provides. Plain sh: at this point there may be no Node that runs TypeScript.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "Gavel needs Node 20 or newer with npm (Debian: apt-get install nodejs npm)" >&2
  exit 1
fi
major=$(node -p 'process.versions.node.split(".")[0]')
if [ "$major" -lt 20 ]; then
  echo "Gavel needs Node 20 or newer; this is $(node --version)" >&2
  exit 1
fi

echo "Installing npm packages (once; about a minute) ..." >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! npm ci --no-audit --no-fund --loglevel=error >"$log" 2>&1; then
  cat "$log" >&2
  echo "npm ci failed" >&2
  exit 1
fi
# The package "node" fetches its program in an install script; an npm that runs none leaves it out.
if ! node_modules/.bin/node --version >/dev/null 2>&1; then
  (cd node_modules/node && node installArchSpecificPackage.js) >"$log" 2>&1 || cat "$log" >&2
fi
if ! version=$(node_modules/.bin/node --version 2>/dev/null); then
  echo "the package \"node\" was not installed: run npm ci with install scripts allowed" >&2
  exit 1
fi
echo "Installed; running on Node $version" >&2
touch node_modules/.gavel-installed
