#!/usr/bin/env bash
# The gRPC API with grpcurl (not in Debian). The daemon describes its API itself
# (server.reflection). INFERD_ADDR names it, INFERD_API_KEY the key if it wants one.
#
#   grpcurl.sh list                   the services
#   grpcurl.sh health                 is it ready?
#   grpcurl.sh models                 which models are there?
#   grpcurl.sh chat "What is 2+3?"    the whole answer
#   grpcurl.sh stream "Hello"         the same, piece by piece
#
# INFERD_TLS_CA, the file (PEM) of the authority to trust, makes it speak TLS.
set -euo pipefail

address="${INFERD_ADDR:-localhost:50051}"
if [[ -n "${INFERD_TLS_CA:-}" ]]; then
  arguments=(-cacert "$INFERD_TLS_CA")
else
  arguments=(-plaintext)
fi
# $INFERD_API_KEY is expanded by grpcurl: the command line does not have it.
if [[ -n "${INFERD_API_KEY:-}" ]]; then
  # shellcheck disable=SC2016
  arguments+=(-expand-headers -H 'authorization: Bearer ${INFERD_API_KEY}')
fi

body() {
  local text="$1"
  text="${text//\\/\\\\}"
  text="${text//\"/\\\"}"
  text="${text//$'\n'/\\n}"
  printf '{"messages": [{"role": "ROLE_USER", "content": [{"text": "%s"}]}], "temperature": 0, "max_completion_tokens": 64}' \
    "$text"
}

case "${1:-help}" in
  list) grpcurl "${arguments[@]}" "$address" list ;;
  health) grpcurl "${arguments[@]}" "$address" grpc.health.v1.Health/Check ;;
  models) grpcurl "${arguments[@]}" "$address" inferd.v1.ModelService/ListModels ;;
  chat) grpcurl "${arguments[@]}" -d "$(body "$2")" "$address" inferd.v1.ChatService/CreateChatCompletion ;;
  stream) grpcurl "${arguments[@]}" -d "$(body "$2")" "$address" inferd.v1.ChatService/StreamChatCompletion ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 2
    ;;
esac
