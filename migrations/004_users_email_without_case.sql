-- An address is kept as given and unique without regard to case.
create unique index users_email_lower on users (lower(email));
