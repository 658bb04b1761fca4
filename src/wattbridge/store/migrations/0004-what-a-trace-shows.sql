-- What is shown of an exchange besides its four messages, and captures: exchanges kept for themselves.

alter table exchange add column how text not null default '';
alter table exchange add column route text not null default '';
alter table exchange add column profile text not null default '';
alter table exchange add column known_as text not null default '';
alter table exchange add column source text not null default '';
alter table exchange add column charger_transport text not null default '';
alter table exchange add column csms_transport text not null default '';
alter table exchange add column charger_version text not null default '';
alter table exchange add column csms_version text not null default '';
alter table exchange add column losses bigint not null default 0;
alter table exchange add column changes bigint not null default 0;
alter table exchange add column read_seconds double precision not null default 0;
alter table exchange add column write_seconds double precision not null default 0;

create index exchange_identity_number on exchange (identity, number);
drop index exchange_identity_began;

create table capture (
    id text not null,
    name text not null,
    wanted text not null,
    began double precision not null,
    ends double precision not null,
    ended double precision,
    reason text not null,
    records bigint not null,
    bytes bigint not null,
    limit_records bigint not null,
    limit_bytes bigint not null,
    primary key (id)
);

create table captured (
    capture text not null,
    number bigint not null,
    began double precision not null,
    content text not null,
    primary key (capture, number)
);
