#!/usr/bin/env bash
# Make sure of the programs that the tests start and Python cannot bring: real servers on private ports.
# Installs what is missing with apt, where root or a password-free sudo allows it; otherwise names it and fails.
set -euo pipefail

found() {
  command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# Each program and the Debian package that has it.
needed=(
  redis-server:redis-server initdb:postgresql prometheus:prometheus promtool:prometheus node:nodejs curl:curl chromium:chromium setpriv:util-linux rclone:rclone
)
missing=()
for pair in "${needed[@]}"; do
  found "${pair%%:*}" || missing+=("${pair#*:}")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
  echo "The tests need these packages; please install them: ${missing[*]}" >&2
  exit 1
fi
echo "Installing for the tests: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
