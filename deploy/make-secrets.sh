#!/bin/sh
# Random passwords for docker-compose.yml, once; existing ones are kept.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
for name in postgres_password grafana_admin_password; do
  [ -s "secrets/$name" ] || od -An -N18 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
done
# readable by the users inside the containers
chmod 755 secrets
chmod 644 secrets/*
