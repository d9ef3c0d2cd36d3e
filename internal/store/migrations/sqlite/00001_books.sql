-- +goose Up
-- Amounts are minor units, times are milliseconds since 1970 UTC, ids are drawn by the nodes from id_block.

CREATE TABLE id_block (
    name text PRIMARY KEY,
    next integer NOT NULL
) STRICT;

INSERT INTO id_block (name, next) VALUES ('row', 1);

CREATE TABLE secret (
    name  text PRIMARY KEY,
    value blob NOT NULL
) STRICT;

CREATE TABLE app (
    id         integer PRIMARY KEY,
    app_id     text NOT NULL UNIQUE,
    name       text NOT NULL,
    disabled   integer NOT NULL,
    settings   text NOT NULL,
    created_at integer NOT NULL
) STRICT;

-- owner: client (verifies requests, answers are encrypted to it), platform (opens requests, signs webhooks), sftp (logs in).
CREATE TABLE app_key (
    id          integer PRIMARY KEY,
    app_id      text NOT NULL,
    owner       text NOT NULL,
    fingerprint text NOT NULL,
    public_key  text NOT NULL,
    private_key text NOT NULL,
    retired_at  integer NOT NULL,
    made_primary_at integer NOT NULL,
    first_used_at   integer NOT NULL,
    created_at  integer NOT NULL,
    UNIQUE (owner, fingerprint)
) STRICT;
CREATE INDEX app_key_app ON app_key (app_id);

CREATE TABLE request (
    id           integer PRIMARY KEY,
    app_id       text NOT NULL,
    operation    text NOT NULL,
    request_no   text NOT NULL,
    field_hashes blob NOT NULL,
    code         text NOT NULL,
    fields       text NOT NULL,
    record_id    integer NOT NULL,
    at           integer NOT NULL,
    UNIQUE (app_id, operation, request_no)
) STRICT;

CREATE TABLE seller (
    id         integer PRIMARY KEY,
    app_id     text NOT NULL,
    seller_id  text NOT NULL,
    status     text NOT NULL,
    changed_at integer NOT NULL,
    created_at integer NOT NULL,
    UNIQUE (app_id, seller_id)
) STRICT;

CREATE TABLE binding (
    id              integer PRIMARY KEY,
    app_id          text NOT NULL,
    seller_id       text NOT NULL,
    currency        text NOT NULL,
    request_no      text NOT NULL,
    seller_cert_no  text NOT NULL,
    seller_name     text NOT NULL,
    store_name      text NOT NULL,
    store_url       text NOT NULL,
    entity_type     text NOT NULL,
    country         text NOT NULL,
    note            text NOT NULL,
    backlink_url    text NOT NULL,
    state           text NOT NULL,
    fail_reason     text NOT NULL,
    link_hash       blob NOT NULL,
    link_expires_at integer NOT NULL,
    consent         text NOT NULL,
    created_at      integer NOT NULL,
    confirm_by      integer NOT NULL,
    confirmed_at    integer NOT NULL,
    decided_at      integer NOT NULL,
    bound_at        integer NOT NULL
) STRICT;
CREATE INDEX binding_seller ON binding (app_id, seller_id, currency);
CREATE INDEX binding_link ON binding (link_hash) WHERE link_expires_at > 0;
CREATE INDEX binding_state ON binding (state, id);

-- kind: external, platform, seller, fees (money); evidence, filed-shipped, filed-unshipped, used (entitlement).
CREATE TABLE account (
    id         integer PRIMARY KEY,
    app_id     text NOT NULL,
    kind       text NOT NULL,
    seller_id  text NOT NULL,
    currency   text NOT NULL,
    balance    integer NOT NULL,
    held       integer NOT NULL,
    last_no    integer NOT NULL,
    last_at    integer NOT NULL,
    day        integer NOT NULL,
    day_amount integer NOT NULL,
    UNIQUE (app_id, seller_id, currency, kind)
) STRICT;

-- One row moves amount from one account to another and says what each held afterwards.
CREATE TABLE posting (
    id           integer PRIMARY KEY,
    purpose      text NOT NULL,
    record_id    integer NOT NULL,
    amount       integer NOT NULL,
    from_id      integer NOT NULL,
    from_no      integer NOT NULL,
    from_balance integer NOT NULL,
    to_id        integer NOT NULL,
    to_no        integer NOT NULL,
    to_balance   integer NOT NULL,
    at           integer NOT NULL
) STRICT;
CREATE UNIQUE INDEX posting_from ON posting (from_id, from_no);
CREATE UNIQUE INDEX posting_to ON posting (to_id, to_no);

CREATE TABLE share (
    id          integer PRIMARY KEY,
    app_id      text NOT NULL,
    request_no  text NOT NULL,
    seller_id   text NOT NULL,
    currency    text NOT NULL,
    amount      integer NOT NULL,
    note        text NOT NULL,
    binding_id  integer NOT NULL,
    state       text NOT NULL,
    fail_code   text NOT NULL,
    allowed     integer NOT NULL,
    committed   integer NOT NULL,
    cap         integer NOT NULL,
    day         integer NOT NULL,
    accepted_at integer NOT NULL,
    finished_at integer NOT NULL
) STRICT;

CREATE TABLE deposit (
    id             integer PRIMARY KEY,
    app_id         text NOT NULL,
    currency       text NOT NULL,
    amount         integer NOT NULL,
    bank_reference text NOT NULL,
    value_date     text NOT NULL,
    payer          text NOT NULL,
    booked_at      integer NOT NULL,
    reversed_at    integer NOT NULL,
    UNIQUE (currency, bank_reference)
) STRICT;

CREATE TABLE trade_file (
    id            integer PRIMARY KEY,
    app_id        text NOT NULL,
    request_no    text NOT NULL,
    attempt       integer NOT NULL,
    state         text NOT NULL,
    sha256        text NOT NULL,
    size          integer NOT NULL,
    path          text NOT NULL,
    seller_id     text NOT NULL,
    currency      text NOT NULL,
    total_rows    integer NOT NULL,
    accepted_rows integer NOT NULL,
    rejected_rows integer NOT NULL,
    fail_reason   text NOT NULL,
    warnings      text NOT NULL,
    received_at   integer NOT NULL,
    finished_at   integer NOT NULL,
    UNIQUE (app_id, request_no, attempt)
) STRICT;

-- An upload that came while its requestNo was being judged or after it was accepted: compared, dropped, remembered.
CREATE TABLE trade_refused (
    id         integer PRIMARY KEY,
    file_id    integer NOT NULL,
    sha256     text NOT NULL,
    size       integer NOT NULL,
    at         integer NOT NULL,
    UNIQUE (file_id, sha256)
) STRICT;

-- How many rows of a file each seller and currency has.
CREATE TABLE trade_part (
    file_id       integer NOT NULL,
    seller_id     text NOT NULL,
    currency      text NOT NULL,
    total_rows    integer NOT NULL,
    accepted_rows integer NOT NULL,
    rejected_rows integer NOT NULL,
    PRIMARY KEY (file_id, seller_id, currency)
) STRICT, WITHOUT ROWID;

-- Only what is judged; the record itself stays in the kept file, at row_offset.
CREATE TABLE trade_row (
    app        integer NOT NULL,
    row_key    blob NOT NULL,
    file_id    integer NOT NULL,
    item_key   blob NOT NULL,
    seller_id  text NOT NULL,
    currency   text NOT NULL,
    amount     integer NOT NULL,
    at         integer NOT NULL,
    shipped    integer NOT NULL,
    ship_hash  integer NOT NULL,
    line       integer NOT NULL,
    row_offset integer NOT NULL,
    row_length integer NOT NULL,
    PRIMARY KEY (row_key, app, file_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX trade_row_item ON trade_row (item_key);
CREATE INDEX trade_row_file ON trade_row (file_id);

CREATE TABLE delivery (
    id          integer PRIMARY KEY,
    app_id      text NOT NULL,
    seller_id   text NOT NULL,
    request_no  text NOT NULL UNIQUE,
    event       text NOT NULL,
    content     text NOT NULL,
    state       text NOT NULL,
    attempts    integer NOT NULL,
    created_at  integer NOT NULL,
    due_at      integer NOT NULL,
    finished_at integer NOT NULL
) STRICT;
CREATE INDEX delivery_seller ON delivery (app_id, seller_id, id);

CREATE TABLE delivery_attempt (
    delivery_id integer NOT NULL,
    attempt     integer NOT NULL,
    at          integer NOT NULL,
    took_ms     integer NOT NULL,
    http_status integer NOT NULL,
    answer      text NOT NULL,
    fault       text NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
) STRICT, WITHOUT ROWID;

-- What must happen after the commit. A queue is worked in the order of due_at, then id.
CREATE TABLE task (
    id        integer PRIMARY KEY,
    queue     text NOT NULL,
    record_id integer NOT NULL,
    due_at    integer NOT NULL
) STRICT;
CREATE INDEX task_queue ON task (queue, due_at, id);
CREATE INDEX task_due ON task (due_at, id);

-- Every changing act of an operator, append-only.
CREATE TABLE audit (
    id           integer PRIMARY KEY,
    reference    text NOT NULL UNIQUE,
    act          text NOT NULL,
    actor        text NOT NULL,
    app_id       text NOT NULL,
    subject      text NOT NULL,
    reason       text NOT NULL,
    content_hash blob NOT NULL,
    before       text NOT NULL,
    after        text NOT NULL,
    at           integer NOT NULL
) STRICT;

CREATE TABLE call (
    id          integer PRIMARY KEY,
    trace_id    text NOT NULL,
    app_id      text NOT NULL,
    operation   text NOT NULL,
    request_no  text NOT NULL,
    code        text NOT NULL,
    detail      text NOT NULL,
    address     text NOT NULL,
    took_us     integer NOT NULL,
    request     text NOT NULL,
    response    text NOT NULL,
    at          integer NOT NULL
) STRICT;

-- +goose Down
DROP TABLE call;
DROP TABLE audit;
DROP TABLE task;
DROP TABLE delivery_attempt;
DROP TABLE delivery;
DROP TABLE trade_row;
DROP TABLE trade_part;
DROP TABLE trade_refused;
DROP TABLE trade_file;
DROP TABLE deposit;
DROP TABLE share;
DROP TABLE posting;
DROP TABLE account;
DROP TABLE binding;
DROP TABLE seller;
DROP TABLE request;
DROP TABLE app_key;
DROP TABLE app;
DROP TABLE secret;
DROP TABLE id_block;
