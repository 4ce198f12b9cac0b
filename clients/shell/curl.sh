#!/usr/bin/env bash
# The HTTP API with curl. INFERD_URL names the daemon, INFERD_API_KEY the key if it wants one.
#
#   curl.sh ready                  is it ready?
#   curl.sh models                 which models are there?
#   curl.sh chat "What is 2+3?"    the whole answer, as JSON
#   curl.sh stream "Hello"         the same, piece by piece (server-sent events)
#   curl.sh metrics                for Prometheus
#
# For a daemon that speaks TLS the address begins with https://; INFERD_TLS_CA is the file
# (PEM) of the authority to trust, if the system does not.
set -euo pipefail

url="${INFERD_URL:-http://localhost:50051}"
arguments=(--silent --show-error --fail-with-body --noproxy '*')
if [[ -n "${INFERD_TLS_CA:-}" ]]; then arguments+=(--cacert "$INFERD_TLS_CA"); fi
# The key goes in by a file descriptor: on the command line every user of the machine sees it.
call() {
  if [[ -n "${INFERD_API_KEY:-}" ]]; then
    curl "${arguments[@]}" --header @<(printf 'Authorization: Bearer %s' "$INFERD_API_KEY") "$@"
  else
    curl "${arguments[@]}" "$@"
  fi
}

# body TEXT STREAM: JSON, with the text's quotes, backslashes and newlines escaped.
body() {
  local text="$1"
  text="${text//\\/\\\\}"
  text="${text//\"/\\\"}"
  text="${text//$'\n'/\\n}"
  printf '{"messages": [{"role": "user", "content": "%s"}], "temperature": 0, "max_completion_tokens": 64, "stream": %s}' \
    "$text" "$2"
}

case "${1:-help}" in
  ready) call "$url/readyz" ;;
  models) call "$url/v1/models" ;;
  chat)
    body "$2" false | call --header 'Content-Type: application/json' --data-binary @- "$url/v1/chat/completions"
    ;;
  stream)
    body "$2" true | call --no-buffer --header 'Content-Type: application/json' --data-binary @- \
      "$url/v1/chat/completions"
    ;;
  metrics) call "$url/metrics" ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
