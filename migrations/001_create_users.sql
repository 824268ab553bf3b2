create table if not exists users (
    id uuid primary key,
    email varchar(255) not null unique,
    name varchar(255) not null,
    created_at timestamptz default now()
);

create index if not exists idx_users_email on users (email);
