-- The list of a user's orders, newest first, page by page; one index serves it and the look-up by user.
drop index if exists idx_orders_user_id;
create index idx_orders_user_id on orders (user_id, created_at desc, id desc);
