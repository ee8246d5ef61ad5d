#!/bin/sh
# Random passwords for docker-compose.yml, once; existing ones are kept. Put the real routing key of PagerDuty and the
# address of your Slack webhook into secrets/pagerduty_routing_key and secrets/slack_api_url.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
for name in postgres_password grafana_admin_password; do
  [ -s "secrets/$name" ] || od -An -N18 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
done
[ -s secrets/pagerduty_routing_key ] || printf '%032d' 0 > secrets/pagerduty_routing_key
[ -s secrets/slack_api_url ] || printf 'http://127.0.0.1:9/no-webhook' > secrets/slack_api_url
# readable by the users inside the containers
chmod 755 secrets
chmod 644 secrets/*
