#!/bin/sh
# Launches nvcc: what ptxas says of registers and spills goes to OBJECT.ptxas, which a test
# reads; everything else is passed on.
object=""
previous=""
for argument; do
  [ "$previous" = "-o" ] && object="$argument"
  previous="$argument"
done
[ -n "$object" ] || exec "$@"
"$@" 2>"$object.ptxas"
status=$?
grep -vE '^ptxas info|bytes stack frame|^$' "$object.ptxas" >&2
exit "$status"
