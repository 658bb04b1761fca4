-- What a gateway remembers: the rows of store/base.py, a table each. SQLite and PostgreSQL both run this.

create table charge_point (
    identity text not null,
    dialect text not null,
    listener text not null,
    source text not null,
    callback text not null,
    vendor text,
    model text,
    firmware text,
    boot text not null,
    accepted double precision,
    heartbeat_interval double precision,
    heard double precision not null,
    alive bigint not null,
    primary key (identity)
);

create table connector_status (
    identity text not null,
    connector_id text not null,
    payload text not null,
    heard double precision not null,
    primary key (identity, connector_id)
);

create table authorization_answer (
    identity text not null,
    id_tag text not null,
    info text not null,
    told double precision not null,
    primary key (identity, id_tag)
);

create table charging_transaction (
    identity text not null,
    local_id text not null,
    remote_id text not null,
    upstream text not null,
    provisional bigint not null,
    connector_id text not null,
    id_tag text not null,
    meter_start text not null,
    started text not null,
    stopped text not null,
    state text not null,
    changed double precision not null,
    primary key (identity, local_id)
);

create index charging_transaction_changed on charging_transaction (changed);

create table outbox (
    identity text not null,
    position bigint not null,
    action text not null,
    payload text not null,
    message_id text not null,
    form text not null,
    content_key text not null,
    upstream text not null,
    kept double precision not null,
    refusals bigint not null,
    state text not null,
    problem text not null,
    primary key (identity, position)
);

create index outbox_state_kept on outbox (state, kept);

create table remembered_reply (
    identity text not null,
    content_key text not null,
    action text not null,
    reply text not null,
    answered double precision not null,
    primary key (identity, content_key)
);

create index remembered_reply_answered on remembered_reply (answered);

create table exchange (
    number bigint not null,
    identity text not null,
    began double precision not null,
    arrived_from text not null,
    action text not null,
    reason text not null,
    seconds double precision not null,
    peer_seconds double precision not null,
    upstream text not null,
    arrived text not null,
    asked text not null,
    answered text not null,
    replied text not null,
    notes text not null,
    primary key (number)
);

create index exchange_identity_began on exchange (identity, began);
create index exchange_began on exchange (began);
