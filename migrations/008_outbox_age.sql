-- Events are kept for a week and pruned by age; rows lie in the order of their age, so the index is a few pages.
create index outbox_age on outbox using brin (created_at);
