-- +goose Up
-- Amounts are minor units, times are milliseconds since 1970 UTC, ids are drawn by the nodes from id_block.

CREATE TABLE id_block (
    name text PRIMARY KEY,
    next bigint NOT NULL
);

INSERT INTO id_block (name, next) VALUES ('row', 1);

CREATE TABLE secret (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE app (
    id         bigint PRIMARY KEY,
    app_id     text NOT NULL UNIQUE,
    name       text NOT NULL,
    disabled   bigint NOT NULL,
    settings   text NOT NULL,
    created_at bigint NOT NULL
);

-- owner: client (verifies requests, answers are encrypted to it), platform (opens requests, signs webhooks), sftp (logs in).
CREATE TABLE app_key (
    id          bigint PRIMARY KEY,
    app_id      text NOT NULL,
    owner       text NOT NULL,
    fingerprint text NOT NULL,
    public_key  text NOT NULL,
    private_key text NOT NULL,
    retired_at  bigint NOT NULL,
    made_primary_at bigint NOT NULL,
    first_used_at   bigint NOT NULL,
    created_at  bigint NOT NULL,
    UNIQUE (owner, fingerprint)
);
CREATE INDEX app_key_app ON app_key (app_id);

CREATE TABLE request (
    id           bigint PRIMARY KEY,
    app_id       text NOT NULL,
    operation    text NOT NULL,
    request_no   text NOT NULL,
    field_hashes bytea NOT NULL,
    code         text NOT NULL,
    fields       text NOT NULL,
    record_id    bigint NOT NULL,
    at           bigint NOT NULL,
    UNIQUE (app_id, operation, request_no)
);

CREATE TABLE seller (
    id         bigint PRIMARY KEY,
    app_id     text NOT NULL,
    seller_id  text NOT NULL,
    status     text NOT NULL,
    changed_at bigint NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (app_id, seller_id)
);

CREATE TABLE binding (
    id              bigint PRIMARY KEY,
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
    link_hash       bytea NOT NULL,
    link_expires_at bigint NOT NULL,
    consent         text NOT NULL,
    created_at      bigint NOT NULL,
    confirm_by      bigint NOT NULL,
    confirmed_at    bigint NOT NULL,
    decided_at      bigint NOT NULL,
    bound_at        bigint NOT NULL
);
CREATE INDEX binding_seller ON binding (app_id, seller_id, currency);
CREATE INDEX binding_link ON binding (link_hash) WHERE link_expires_at > 0;
CREATE INDEX binding_state ON binding (state, id);

-- kind: external, platform, seller, fees (money); evidence, filed-shipped, filed-unshipped, used (entitlement).
CREATE TABLE account (
    id         bigint PRIMARY KEY,
    app_id     text NOT NULL,
    kind       text NOT NULL,
    seller_id  text NOT NULL,
    currency   text NOT NULL,
    balance    bigint NOT NULL,
    held       bigint NOT NULL,
    last_no    bigint NOT NULL,
    last_at    bigint NOT NULL,
    day        bigint NOT NULL,
    day_amount bigint NOT NULL,
    UNIQUE (app_id, seller_id, currency, kind)
);

-- One row moves amount from one account to another and says what each held afterwards.
CREATE TABLE posting (
    id           bigint PRIMARY KEY,
    purpose      text NOT NULL,
    record_id    bigint NOT NULL,
    amount       bigint NOT NULL,
    from_id      bigint NOT NULL,
    from_no      bigint NOT NULL,
    from_balance bigint NOT NULL,
    to_id        bigint NOT NULL,
    to_no        bigint NOT NULL,
    to_balance   bigint NOT NULL,
    at           bigint NOT NULL
);
CREATE UNIQUE INDEX posting_from ON posting (from_id, from_no);
CREATE UNIQUE INDEX posting_to ON posting (to_id, to_no);

CREATE TABLE share (
    id          bigint PRIMARY KEY,
    app_id      text NOT NULL,
    request_no  text NOT NULL,
    seller_id   text NOT NULL,
    currency    text NOT NULL,
    amount      bigint NOT NULL,
    note        text NOT NULL,
    binding_id  bigint NOT NULL,
    state       text NOT NULL,
    fail_code   text NOT NULL,
    allowed     bigint NOT NULL,
    committed   bigint NOT NULL,
    cap         bigint NOT NULL,
    day         bigint NOT NULL,
    accepted_at bigint NOT NULL,
    finished_at bigint NOT NULL
);

CREATE TABLE deposit (
    id             bigint PRIMARY KEY,
    app_id         text NOT NULL,
    currency       text NOT NULL,
    amount         bigint NOT NULL,
    bank_reference text NOT NULL,
    value_date     text NOT NULL,
    payer          text NOT NULL,
    booked_at      bigint NOT NULL,
    reversed_at    bigint NOT NULL,
    UNIQUE (currency, bank_reference)
);

CREATE TABLE trade_file (
    id            bigint PRIMARY KEY,
    app_id        text NOT NULL,
    request_no    text NOT NULL,
    attempt       bigint NOT NULL,
    state         text NOT NULL,
    sha256        text NOT NULL,
    size          bigint NOT NULL,
    path          text NOT NULL,
    seller_id     text NOT NULL,
    currency      text NOT NULL,
    total_rows    bigint NOT NULL,
    accepted_rows bigint NOT NULL,
    rejected_rows bigint NOT NULL,
    fail_reason   text NOT NULL,
    warnings      text NOT NULL,
    received_at   bigint NOT NULL,
    finished_at   bigint NOT NULL,
    UNIQUE (app_id, request_no, attempt)
);

-- An upload that came while its requestNo was being judged or after it was accepted: compared, dropped, remembered.
CREATE TABLE trade_refused (
    id         bigint PRIMARY KEY,
    file_id    bigint NOT NULL,
    sha256     text NOT NULL,
    size       bigint NOT NULL,
    at         bigint NOT NULL,
    UNIQUE (file_id, sha256)
);

-- How many rows of a file each seller and currency has.
CREATE TABLE trade_part (
    file_id       bigint NOT NULL,
    seller_id     text NOT NULL,
    currency      text NOT NULL,
    total_rows    bigint NOT NULL,
    accepted_rows bigint NOT NULL,
    rejected_rows bigint NOT NULL,
    PRIMARY KEY (file_id, seller_id, currency)
);

-- Only what is judged; the record itself stays in the kept file, at row_offset.
CREATE TABLE trade_row (
    app        bigint NOT NULL,
    row_key    bytea NOT NULL,
    file_id    bigint NOT NULL,
    item_key   bytea NOT NULL,
    seller_id  text NOT NULL,
    currency   text NOT NULL,
    amount     bigint NOT NULL,
    at         bigint NOT NULL,
    shipped    bigint NOT NULL,
    ship_hash  bigint NOT NULL,
    line       bigint NOT NULL,
    row_offset bigint NOT NULL,
    row_length bigint NOT NULL,
    PRIMARY KEY (row_key, app, file_id)
);
CREATE INDEX trade_row_item ON trade_row (item_key);
CREATE INDEX trade_row_file ON trade_row (file_id);

CREATE TABLE delivery (
    id          bigint PRIMARY KEY,
    app_id      text NOT NULL,
    seller_id   text NOT NULL,
    request_no  text NOT NULL UNIQUE,
    event       text NOT NULL,
    content     text NOT NULL,
    state       text NOT NULL,
    attempts    bigint NOT NULL,
    created_at  bigint NOT NULL,
    due_at      bigint NOT NULL,
    finished_at bigint NOT NULL
);
CREATE INDEX delivery_seller ON delivery (app_id, seller_id, id);

CREATE TABLE delivery_attempt (
    delivery_id bigint NOT NULL,
    attempt     bigint NOT NULL,
    at          bigint NOT NULL,
    took_ms     bigint NOT NULL,
    http_status bigint NOT NULL,
    answer      text NOT NULL,
    fault       text NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
);

-- What must happen after the commit. A queue is worked in the order of due_at, then id.
CREATE TABLE task (
    id        bigint PRIMARY KEY,
    queue     text NOT NULL,
    record_id bigint NOT NULL,
    due_at    bigint NOT NULL
);
CREATE INDEX task_queue ON task (queue, due_at, id);
CREATE INDEX task_due ON task (due_at, id);

-- Every changing act of an operator, append-only.
CREATE TABLE audit (
    id           bigint PRIMARY KEY,
    reference    text NOT NULL UNIQUE,
    act          text NOT NULL,
    actor        text NOT NULL,
    app_id       text NOT NULL,
    subject      text NOT NULL,
    reason       text NOT NULL,
    content_hash bytea NOT NULL,
    before       text NOT NULL,
    after        text NOT NULL,
    at           bigint NOT NULL
);

CREATE TABLE call (
    id          bigint PRIMARY KEY,
    trace_id    text NOT NULL,
    app_id      text NOT NULL,
    operation   text NOT NULL,
    request_no  text NOT NULL,
    code        text NOT NULL,
    detail      text NOT NULL,
    address     text NOT NULL,
    took_us     bigint NOT NULL,
    request     text NOT NULL,
    response    text NOT NULL,
    at          bigint NOT NULL
);

-- +goose Down
DROP TABLE call, audit, task, delivery_attempt, delivery, trade_row, trade_part, trade_refused, trade_file, deposit, share,
    posting, account, binding, seller, request, app_key, app, secret, id_block;
