-- What an order took from the stock. held: the order may still fail; committed: it exists; released: the stock went back.
alter table inventory add constraint inventory_quantity_not_negative check (quantity >= 0);

create table reservations (
    order_id uuid primary key,
    product_id uuid not null,
    quantity int not null check (quantity > 0),
    state text not null default 'held' check (state in ('held', 'committed', 'released')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create index reservations_held on reservations (created_at) where state = 'held';
