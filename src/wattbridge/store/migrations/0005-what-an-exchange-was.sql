-- What is told of an exchange that its four texts do not show: how long there was no connection to ask on, how
-- large the messages were of which less is kept, and that an operator asked.

alter table exchange add column delay_seconds double precision not null default 0;
alter table exchange add column arrived_bytes bigint not null default 0;
alter table exchange add column asked_bytes bigint not null default 0;
alter table exchange add column answered_bytes bigint not null default 0;
alter table exchange add column replied_bytes bigint not null default 0;
alter table exchange add column asked_by text not null default '';
