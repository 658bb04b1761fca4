-- Who did what by the admin interface.

create table audit_entry (
    number bigint not null,
    happened double precision not null,
    who text not null,
    role text not null,
    source text not null,
    request text not null,
    identity text not null,
    details text not null,
    status bigint not null,
    result text not null,
    primary key (number)
);

create index audit_entry_happened on audit_entry (happened);
