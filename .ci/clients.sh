#!/usr/bin/env bash
# Runs boto3 and the aws CLI, as their makers publish them, against `mayfly serve`. Needs KVM, Python 3.9 or later with
# venv, and a package index for pip. Ends with status 1 at the first thing that is not as on Lambda.
#
#   .ci/clients.sh MAYFLY
set -euo pipefail
cd "$(dirname "$0")/.."

# Kept between runs: pip takes longer than everything else here.
venv=${MAYFLY_CLIENTS_VENV:-target/clients-venv}
if [ ! -x "$venv/bin/aws" ]; then
    # Exact versions: ranges make pip try one pair after another for minutes.
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet boto3==1.43.11 awscli==1.45.11
fi

# Clients take settings from many places: leave them only ours.
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
clients() {
    env -i PATH="$PATH" HOME="$home" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 \
        AWS_EC2_METADATA_DISABLED=true AWS_PAGER= \
        timeout 300 "$venv/bin/python" .ci/clients.py "$MAYFLY_ENDPOINT" "$venv/bin/aws" "$1"
}
export -f clients
export venv home
.ci/serving "$1" bash -c 'clients "$1"' clients "$1"
echo "clients: all as on Lambda"
