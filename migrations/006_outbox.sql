-- Events on their way to the stream. Whoever inserts (order_id, 'created') decides the order's fate:
-- a null payload is a tombstone, the order will never exist.
create table outbox (
    order_id uuid not null,
    event text not null check (event in ('created', 'cancelled')),
    payload jsonb,
    trace_context jsonb,
    created_at timestamptz not null default now(),
    published_at timestamptz,
    primary key (order_id, event)
);

create index outbox_unpublished on outbox (created_at) where published_at is null;
