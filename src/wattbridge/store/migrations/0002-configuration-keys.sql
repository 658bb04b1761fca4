-- What charge points were configured with, for those that cannot be asked.

create table configuration_key (
    identity text not null,
    key_name text not null,
    value text,
    readonly bigint not null,
    told double precision not null,
    primary key (identity, key_name)
);
