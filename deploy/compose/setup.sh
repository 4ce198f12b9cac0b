#!/usr/bin/env bash
# Makes what the stack keeps secret, once: API keys for a first client and for
# Prometheus, and Grafana's password. Existing files are left as they are.
#
#   docker compose build inferd && ./setup.sh
#
# INFERD names another way to run the program, for example a path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
IMAGE="${INFERD_IMAGE:-inferd:local}"
read -r -a inferd <<<"${INFERD:-docker run --rm $IMAGE}"

# The directory is closed to others; the files are not, because the users inside the
# containers, who are not ours, must read them.
umask 022
mkdir -p "${SECRETS_DIR:=secrets}"
chmod 0700 "$SECRETS_DIR"
if [[ -e "$SECRETS_DIR/api_keys.yaml" ]]; then
  echo "$SECRETS_DIR/api_keys.yaml is there already; nothing was changed" >&2
  exit 0
fi

lines="keys:"
# new_key FILE FLAGS...: the secret goes to FILE, its entry to $lines.
new_key() {
  local made file="$1"
  shift
  made="$("${inferd[@]}" key new "$@")"
  printf '%s' "${made%%$'\n'*}" >"$SECRETS_DIR/$file"
  lines+=$'\n'"${made#*$'\n'}"
}
new_key prometheus_key --id prometheus --models none
new_key client_key --id first-client
head -c 18 /dev/urandom | base64 | tr -d '\n' >"$SECRETS_DIR/grafana_password"
# Last: its presence means that all is there.
printf '%s\n' "$lines" >"$SECRETS_DIR/api_keys.yaml"
echo "$SECRETS_DIR/ holds api_keys.yaml (hashes), client_key, prometheus_key, grafana_password" >&2
