# What the scripts of this folder share: the shop, checks, ports, and the run of their tests, told as cmocka tells it, so that
# tests/run can count.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
BIN_DIR=$(realpath "${BIN_DIR:-$root/build/release/bin}")
RUN_DIR=$scratch/run
ports=(GATEWAY_PORT USER_PORT ORDER_PORT INVENTORY_PORT POSTGRES_PORT REDIS_PORT OTLP_PORT OTLP_HTTP_PORT TRACES_PORT
    GATEWAY_ADMIN_PORT USER_ADMIN_PORT ORDER_ADMIN_PORT INVENTORY_ADMIN_PORT)
export BIN_DIR RUN_DIR
unset MODE FOLLOW TAIL TLS_MODE DATABASE_URL REDIS_URL BASE_URL USER_SERVICE_ADDR ORDER_SERVICE_ADDR INVENTORY_SERVICE_ADDR

shop() {
    "$root/deploy/local/shop" "$@"
}

# said COMMAND…: runs it; what it says is in $output then, its status in $status.
said() {
    status=0
    output=$("$@" 2>&1) || status=$?
}

fail() {
    printf '%s: error: %s\n' "${0##*/}" "$*" >&2
    [[ ! ${output-} ]] || printf '%s\n' "$output" | sed 's/^/    | /' >&2
    exit 1
}

expect_status() {
    [[ $status == "$1" ]] || fail "expected status $1, not $status"
}

expect_said() {
    [[ $output == *"$1"* ]] || fail "expected to read: $1"
}

same() {
    [[ $1 == "$2" ]] || fail "expected ${3-}: $1, not $2"
}

# eventually COMMAND…: within a minute.
eventually() {
    local -i until=$((SECONDS + 60))
    until "$@"; do
        ((SECONDS < until)) || fail "never came true: $*"
        sleep 0.05
    done
}

free_port() {
    local -i port
    while :; do
        port=$((20000 + RANDOM % 10000))
        [[ " $taken " == *" $port "* ]] && continue
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    taken+=" $port"
    printf -v "$1" '%d' "$port"
}

with_ports() {
    taken=''
    for port in "${ports[@]}"; do
        free_port "$port"
        export "${port?}"
    done
}

# Every test_… function of the script, in its order. A script whose tests build on each other has a function repair,
# which runs after one that failed.
run_tests() {
    local tests failed=() name
    mapfile -t tests < <(sed -n 's/^\(test_[a-z_]*\)() {$/\1/p' "$0")
    printf '[==========] Running %d test(s).\n' "${#tests[@]}"
    for name in "${tests[@]}"; do
        printf '[ RUN      ] %s\n' "$name"
        # A subshell: a failed check ends its own test only.
        (
            set -e
            "$name"
        )
        # shellcheck disable=SC2181
        if (($? == 0)); then
            printf '[       OK ] %s\n' "$name"
        else
            printf '[  FAILED  ] %s\n' "$name"
            failed+=("$name")
            if declare -F repair >/dev/null; then repair; fi
        fi
    done
    printf '[==========] %d test(s) run.\n' "${#tests[@]}"
    printf '[  PASSED  ] %d test(s).\n' $((${#tests[@]} - ${#failed[@]}))
    ((${#failed[@]})) || exit 0
    printf '[  FAILED  ] %d test(s), listed below:\n' "${#failed[@]}"
    printf '[  FAILED  ] %s\n' "${failed[@]}"
    exit 1
}
