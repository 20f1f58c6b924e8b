#!/usr/bin/env bash
# Runs boto3 and the aws CLI, as their makers publish them, against `mayfly serve`. Needs KVM, Python 3.9 or later with
# venv, and a package index for pip. Ends with status 1 at the first thing that is not as on Lambda.
#
#   .ci/clients.sh [MAYFLY]     MAYFLY: the program; default: target/release/mayfly or target/debug/mayfly, built if absent
set -euo pipefail
cd "$(dirname "$0")/.."

mayfly=${1:-}
if [ -z "$mayfly" ]; then
    for candidate in target/release/mayfly target/debug/mayfly; do
        [ -x "$candidate" ] && mayfly=$candidate && break
    done
fi
if [ -z "$mayfly" ]; then
    cargo build -p mayfly
    mayfly=target/debug/mayfly
fi

work=$(mktemp -d)
server=
clean() {
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -rf "$work"
}
trap clean EXIT

# Kept between runs: pip takes longer than everything else here.
venv=${MAYFLY_CLIENTS_VENV:-target/clients-venv}
if [ ! -x "$venv/bin/aws" ]; then
    # Exact versions: ranges make pip try one pair after another for minutes.
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet boto3==1.43.11 awscli==1.45.11
fi

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
endpoint=http://127.0.0.1:$port
"$mayfly" serve --listen "127.0.0.1:$port" --data-dir "$work/data" &
server=$!

for _ in $(seq 600); do
    if ! kill -0 "$server" 2>/dev/null; then
        server=
        echo "clients: the server ended" >&2
        exit 1
    fi
    curl --silent --fail --max-time 2 --output /dev/null "$endpoint/readyz" && break
    sleep 0.2
done
curl --silent --show-error --fail --max-time 2 "$endpoint/readyz"
echo

# Clients take settings from many places: leave them only ours.
env -i PATH="$PATH" HOME="$work" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 \
    AWS_EC2_METADATA_DISABLED=true AWS_PAGER= \
    timeout 300 "$venv/bin/python" .ci/clients.py "$endpoint" "$venv/bin/aws" "$mayfly"
echo "clients: all as on Lambda"
