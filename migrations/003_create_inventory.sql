create table if not exists inventory (
    product_id uuid primary key,
    quantity int not null default 0,
    updated_at timestamptz default now()
);

create index if not exists idx_inventory_quantity on inventory (quantity);
