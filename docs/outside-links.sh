#!/usr/bin/env bash
# A preprocessor of mdBook: links out of this folder, `](../PATH`, lead to the repository.
set -euo pipefail

if [[ ${1:-} == supports ]]; then exit 0; fi
exec jq -c '
  (.[0].config.output.html["git-repository-url"] + "/blob/main/") as $there
  | .[1]
  | walk(if type == "object" and has("content") then .content |= gsub("\\]\\(\\.\\./"; "](" + $there) else . end)
'
