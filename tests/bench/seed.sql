-- 1,000 of each: products with more stock than any load can take, users, and orders that are over and done with.
insert into users (id, email, name)
select ('be4c0000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'seed-' || n || '@bench.example', 'Bench User'
from generate_series(1, 1000) n;

insert into inventory (product_id, quantity)
select ('be4c0000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 999999999
from generate_series(1, 1000) n;

insert into orders (id, user_id, product_id, quantity)
select ('be4c0000-0000-4000-a000-' || lpad(n::text, 12, '0'))::uuid, ('be4c0000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
    ('be4c0000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 1
from generate_series(1, 1000) n;

insert into reservations (order_id, product_id, quantity, state)
select id, product_id, quantity, 'committed' from orders;

insert into outbox (order_id, event, payload, created_at, published_at)
select id, 'created', jsonb_build_object('order_id', id, 'user_id', user_id, 'product_id', product_id, 'quantity', quantity,
    'timestamp', created_at), created_at, created_at
from orders;

analyze;
