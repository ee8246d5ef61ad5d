#!/usr/bin/env bash
# get-debs.sh SUITE DIR PACKAGE...
# Unpacks packages of any Debian suite into DIR without installing them: apt checks signatures and hashes, and the
# system is left as it is. Uses the Debian mirror that the machine has among its apt sources. One DIR per suite and list.
set -euo pipefail
suite=$1 dir=$2; shift 2
[ -e "$dir/.done-$suite" ] && exit 0
mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
w=$(mktemp -d); trap 'rm -rf "$w"' EXIT
mkdir -p "$w"/{lists/partial,cache/archives/partial,parts}
uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1) || true
: "${uri:?no Debian mirror among the apt sources}"
printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$uri" "$suite" > "$w/parts/s.sources"
options=(-q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$w/parts" -o Dir::State::lists="$w/lists" -o Dir::Cache="$w/cache"
  -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o Acquire::Languages=none
  -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=)
apt-get "${options[@]}" update
(cd "$w/parts" && apt-get "${options[@]}" download "$@")
rm -f "$dir/.debs"
for f in "$w"/parts/*.deb; do dpkg-deb -x "$f" "$dir"; basename "$f" >> "$dir/.debs"; done
touch "$dir/.done-$suite"
