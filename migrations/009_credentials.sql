-- How users log in. password_hash is argon2id's own text; a user without a row has no password and cannot log in.
create table credentials (
    user_id uuid primary key references users (id) on delete cascade,
    password_hash text not null,
    role text not null default 'customer' check (role in ('customer', 'admin')),
    updated_at timestamptz not null default now()
);
