#!/bin/bash
# The amqp-tools snippet, as a member would run it: without arguments the loop; with "keep" what the loop runs for each
# message, which comes on standard input, and without its headers. Pauses are the shortest that it makes.
set -eu
if [ "${1-}" = keep ]; then
  message=$(cat)
  name=$(printf %s "$message" | sha256sum | cut -d" " -f1)
  payload=$(printf %s "$message" | cut -d. -f2 | tr _- /+)
  address=$(printf %s "$payload===" | base64 -d 2> bad | sed -E 's/.*"id": "([^"]+)".*"originator": "([^"]+)".*/\2:\1/') || true
  if [ -e "there/$name" ]; then
    printf '{"again": ["%s", 1]}\n' "$address"
    exit 0
  fi
  printf %s "$message" > "there/$name"
  printf '{"kept": ["%s", 1], "body": "%s"}\n' "$address" "$message"
  if [ "$address" = "$HOLD" ]; then
    read -r _ < go
  fi
  tidewaiter ack "$address" --state received > /dev/null
  exit 0
fi
mkdir there
mkfifo go
cat <&0 > go &
tidewaiter() {
  "$(type -P tidewaiter)" "$@" | tee token
  printf '{"login": "%s"}\n' "$(tr -d '\n' < token | sha256sum | cut -d" " -f1)" >&2
}
set +e
unset RANDOM  # from here on it is a name like any other
RANDOM=0
. ./snippet.sh
