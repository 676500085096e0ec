-- E-mails of card holders whose CRM cannot be asked for an e-mail (KLO-1 wants to find by it).
CREATE TABLE koshelek.emails (
    email           text PRIMARY KEY,
    users_reference text NOT NULL
);
CREATE INDEX emails_of ON koshelek.emails (users_reference);
