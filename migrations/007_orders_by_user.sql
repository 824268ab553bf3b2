-- The list of a user's orders, newest first, page by page.
create index orders_by_user on orders (user_id, created_at desc, id desc);
