create table if not exists orders (
    id uuid primary key,
    user_id uuid not null references users (id),
    product_id uuid not null,
    quantity int not null,
    status varchar(50) not null default 'pending',
    created_at timestamptz default now()
);

create index if not exists idx_orders_user_id on orders (user_id);
create index if not exists idx_orders_status on orders (status);
