-- Which run of Redis events go to. A run that is not this one may have lost the last of them: before anything new is
-- sent to it, they are sent again. Rows lie about in the order in which they were published.
create table redis_run (
    one boolean primary key default true check (one),
    run text not null default '',
    seen_at timestamptz not null default now()
);

insert into redis_run default values;

create index outbox_published on outbox using brin (published_at);
