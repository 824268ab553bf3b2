# What is particular to each part of the shop: how PostgreSQL, Redis, the collector and the services are started and asked, their
# settings files, and the demo data. Sourced by shop.
# shellcheck shell=bash disable=SC2154 # run, config, pids and the ports are the shop's

# --- PostgreSQL -----------------------------------------------------------------------------

# PostgreSQL refuses to run as root: there it runs as its own user, in a folder that this user can reach.
as_postgres() {
    if ((EUID == 0)); then
        env -C / setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    else
        "$@"
    fi
}

# The programs of the version that made the data; of the newest one for new data. Sets postgres_bin.
find_postgres() {
    local version
    [[ ! ${postgres_bin:-} ]] || return 0
    if [[ -r $run/postgres/PG_VERSION ]]; then
        version=$(<"$run/postgres/PG_VERSION")
    else
        version=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sed 's,.*/postgresql/\([0-9]*\)/.*,\1,' | sort -n | tail -n 1)
    fi
    postgres_bin=/usr/lib/postgresql/$version/bin
    [[ -x $postgres_bin/postgres ]] || die "PostgreSQL ${version//[^0-9]/} is not installed; make installs it"
}

# Where the data lies when user postgres cannot get into the run directory: its own home, under a name made from the
# directory's, linked from run/postgres.
postgres_elsewhere() {
    local hash
    hash=$(printf '%s' "$run" | sha256sum)
    printf '/var/lib/postgresql/bodega-%s' "${hash:0:16}"
}

make_postgres_data() {
    local data=$run/postgres
    [[ ! -e $data/PG_VERSION ]] || return 0
    if ((EUID == 0)); then
        id postgres >/dev/null 2>&1 || die "there is no user postgres, which PostgreSQL needs when root starts it"
        if ! as_postgres test -x "$run"; then
            data=$(postgres_elsewhere)
            ln -sfn "$data" "$run/postgres"
        fi
    fi
    # Made under another name and renamed when whole: an interrupted start leaves nothing half-made.
    if [[ ! -e $data/PG_VERSION ]]; then
        rm -rf "$data.new"
        mkdir -m 700 "$data.new"
        ((EUID)) || chown postgres:postgres "$data.new"
        as_postgres "$postgres_bin/initdb" -D "$data.new" -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
            --no-instructions >"$logs/initdb.log" 2>&1 || die "initdb failed: $(tail -n 3 "$logs/initdb.log")"
        mv "$data.new" "$data"
    fi
}

start_postgres() {
    local command
    find_postgres
    make_postgres_data
    command=("$postgres_bin/postgres" -D "$(realpath "$run/postgres")" -p "$POSTGRES_PORT"
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=100 -c shared_buffers=128MB)
    if ((EUID == 0)); then
        command=(env -C / setpriv --reuid=postgres --regid=postgres --init-groups -- "${command[@]}")
    fi
    spawn postgres "${command[@]}"
}

# Without the user's own PG* variables.
sql() {
    find_postgres
    env -i "$postgres_bin/psql" -X -q -v ON_ERROR_STOP=1 -At -U postgres -h 127.0.0.1 -p "$POSTGRES_PORT" "$@" </dev/null
}

make_database() {
    [[ $(sql -d postgres -c "select 1 from pg_database where datname = 'ecommerce'") == 1 ]] ||
        sql -d postgres -c 'create database ecommerce'
}

# Only what is surely ours: the link's target must be the name that this directory gives.
wipe_postgres() {
    local elsewhere
    elsewhere=$(postgres_elsewhere)
    if ((EUID == 0)); then
        rm -rf "$elsewhere" "$elsewhere.new"
    fi
    rm -rf "${run:?}/postgres" "${run:?}/postgres.new"
}

# --- Redis ----------------------------------------------------------------------------------

start_redis() {
    mkdir -p "$run/redis"
    spawn redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --dir "$run/redis" \
        --appendonly yes --appendfsync everysec --save '' --daemonize no --logfile ''
}

# --- the collector --------------------------------------------------------------------------

start_collector() {
    # shellcheck disable=SC2086 # several options
    spawn collector "$bin/otlp-collector" --grpc "$(address collector)" --http "127.0.0.1:$OTLP_HTTP_PORT" \
        --page "127.0.0.1:$TRACES_PORT" ${COLLECTOR_OPTIONS:-}
}

collector_answers() {
    curl -q -s --noproxy '*' --max-time 3 -o /dev/null -f "http://127.0.0.1:$TRACES_PORT/"
}

# --- who answers ----------------------------------------------------------------------------

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

http_status() {
    curl -q -s --noproxy '*' --max-time 3 -o /dev/null -w '%{http_code}' "http://$1"
}

# It runs, whatever the state of those it depends on.
answers() {
    case $1 in
    postgres) find_postgres && env -i "$postgres_bin/pg_isready" -q -U postgres -h 127.0.0.1 -p "$POSTGRES_PORT" ;;
    collector) collector_answers ;;
    redis) [[ $(redis-cli -h 127.0.0.1 -p "$REDIS_PORT" ping 2>/dev/null) == PONG ]] ;;
    api-gateway) [[ $(http_status "$(address api-gateway)/health") == 200 ]] ;;
    *) [[ $(http_status "$(admin_address "$1")/livez") == 200 ]] ;;
    esac
}

# And it can do its work.
ready() {
    case $1 in
    postgres | redis | collector) answers "$1" ;;
    api-gateway) [[ $(http_status "$(address api-gateway)/ready") == 200 ]] ;;
    *) [[ $(http_status "$(admin_address "$1")/readyz") == 200 ]] ;; # not by gRPC, which may want a certificate
    esac
}

# --- the services' settings -----------------------------------------------------------------

listen_env() {
    [[ $1 == api-gateway ]] && printf 'HTTP_LISTEN=' || printf 'RPC_LISTEN='
    address "$1"
}

otel_yaml() {
    cat <<END
# Telemetry of the four services in the local run: OpenTelemetry's declarative configuration. Yours to edit: a change takes
# effect within two seconds, without a restart; a file that cannot be used changes nothing and is told in the log.
# All keys: libcommon/docs/otel-settings.md
file_format: "1.0"
log_level: info
propagator:
  composite:
    - tracecontext:
    - baggage:
tracer_provider:
  sampler:
    parent_based:
      root:
        trace_id_ratio_based:
          ratio: 1.0
  processors:
    - batch:
        schedule_delay: 1000
        max_queue_size: 8192
        max_export_batch_size: 2048
        exporter:
          otlp_grpc:
            endpoint: http://$(address collector)
            max_request_size: 4194304
meter_provider:
  readers:
    - periodic:
        interval: 5000
        exporter:
          otlp_grpc:
            endpoint: http://$(address collector)
logger_provider:
  processors:
    - batch:
        schedule_delay: 1000
        max_queue_size: 8192
        max_export_batch_size: 2048
        exporter:
          otlp_grpc:
            endpoint: http://$(address collector)
            max_request_size: 4194304
END
}

settings_yaml() {
    if [[ $1 == otel ]]; then
        otel_yaml
        return
    fi
    cat <<END
# Settings of $1 in the local run, read when it starts. Yours to edit: once changed, this file is
# never written again (delete it to have it anew). Addresses and URLs are the exception: they come from
# make's variables (GATEWAY_PORT, POSTGRES_PORT ...), through the environment, which wins over this file.
# All keys: $1 --print-config
END
    case $1 in
    api-gateway)
        cat <<END
http:
  listen: $(address api-gateway)
peers:
  user-service: $(address user-service)
  order-service: $(address order-service)
  inventory-service: $(address inventory-service)
END
        ;;
    user-service)
        cat <<END
rpc:
  listen: $(address user-service)
database:
  url: postgres://postgres@$(address postgres)/ecommerce
END
        ;;
    order-service)
        cat <<END
rpc:
  listen: $(address order-service)
peers:
  inventory-service: $(address inventory-service)
  user-service: $(address user-service)
database:
  url: postgres://postgres@$(address postgres)/ecommerce
redis:
  url: redis://$(address redis)
END
        ;;
    inventory-service)
        cat <<END
rpc:
  listen: $(address inventory-service)
peers:
  order-service: $(address order-service)
  user-service: $(address user-service)
database:
  url: postgres://postgres@$(address postgres)/ecommerce
redis:
  url: redis://$(address redis)
END
        ;;
    esac
    cat <<END
auth:
  mode: optional
log:
  level: info
END
}

sum_of() {
    sha256sum <"$1" | cut -d ' ' -f 1
}

# pids/NAME.yaml.sum tells a file as we wrote it from one that its owner has edited.
is_as_written() {
    [[ -e $pids/$1.yaml.sum && $(sum_of "$config/$1.yaml") == "$(<"$pids/$1.yaml.sum")" ]]
}

write_config() {
    local file=$config/$1.yaml
    [[ ! -e $file ]] || is_as_written "$1" || return 0
    settings_yaml "$1" >"$file.new"
    mv "$file.new" "$file"
    leave "$1.yaml.sum" "$(sum_of "$file")"
}

drop_written_config() {
    local service
    for service in "${services[@]}" otel; do
        [[ ! -e $config/$service.yaml ]] || ! is_as_written "$service" || rm -f "$config/$service.yaml"
    done
}

# --- demo data ------------------------------------------------------------------------------

demo_user=b0de9a00-0000-4000-8000-000000000001

demo_product() {
    printf 'b0de9a00-0000-4000-9000-%012d' "$1"
}

# What is there stays as it is: the stock survives restarts.
demo_data() {
    sql -d ecommerce -c "
        insert into users (id, email, name) values ('$demo_user', 'demo@bodega.example', 'Demo User') on conflict do nothing;
        insert into inventory (product_id, quantity)
        select ('b0de9a00-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 100 * n from generate_series(1, 20) n
        on conflict do nothing"
}

# uuid_v5 NAMESPACE NAME: the id that the order service gives an order with an Idempotency-Key.
uuid_v5() {
    local hex
    hex=$({
        printf '%b' "$(sed 's/-//g; s/../\\x&/g' <<<"$1")"
        printf '%s' "$2"
    } | sha1sum)
    printf '%s-%s-5%s-%x%s-%s' "${hex:0:8}" "${hex:8:4}" "${hex:13:3}" $((0x${hex:16:1} & 3 | 8)) "${hex:17:3}" "${hex:20:12}"
}
