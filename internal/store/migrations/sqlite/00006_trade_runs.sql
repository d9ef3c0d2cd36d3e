-- +goose Up
-- Rows are written under a run of their file, in one tree in the order of their items, and are never changed: the run that a
-- file names when it is accepted is what counts, and of rows with one identity that of the file booked last (booked_no).
ALTER TABLE trade_file ADD COLUMN run_id integer NOT NULL DEFAULT 0;
ALTER TABLE trade_file ADD COLUMN booked_no integer NOT NULL DEFAULT 0;
UPDATE trade_file SET run_id = id, booked_no = (SELECT COUNT(*) FROM trade_file f WHERE f.app_id = trade_file.app_id AND f.state IN ('SUCCESS', 'PARTIAL')
    AND (f.finished_at < trade_file.finished_at OR (f.finished_at = trade_file.finished_at AND f.id <= trade_file.id)))
WHERE state IN ('SUCCESS', 'PARTIAL');
CREATE INDEX trade_file_run ON trade_file (run_id);
CREATE INDEX trade_file_booked ON trade_file (app_id, booked_no);

-- A run that no file names yet. Its rows are removed when it is swept.
CREATE TABLE trade_run (
    id    integer PRIMARY KEY,
    app   integer NOT NULL,
    swept integer NOT NULL
) STRICT;

CREATE TABLE trade_part_now (
    file_id       integer NOT NULL,
    no            integer NOT NULL,
    seller_id     text NOT NULL,
    currency      text NOT NULL,
    total_rows    integer NOT NULL,
    accepted_rows integer NOT NULL,
    rejected_rows integer NOT NULL,
    PRIMARY KEY (file_id, no)
) STRICT, WITHOUT ROWID;
INSERT INTO trade_part_now SELECT file_id, ROW_NUMBER() OVER (PARTITION BY file_id ORDER BY seller_id, currency) - 1,
    seller_id, currency, total_rows, accepted_rows, rejected_rows FROM trade_part;
DROP TABLE trade_part;
ALTER TABLE trade_part_now RENAME TO trade_part;

CREATE TABLE trade_row_now (
    app        integer NOT NULL,
    item_key   blob NOT NULL,
    at         integer NOT NULL,
    returned   integer NOT NULL,
    run_id     integer NOT NULL,
    part       integer NOT NULL,
    amount     integer NOT NULL,
    shipped    integer NOT NULL,
    ship_hash  integer NOT NULL,
    line       integer NOT NULL,
    row_offset integer NOT NULL,
    PRIMARY KEY (app, item_key, at, returned, run_id)
) STRICT, WITHOUT ROWID;
INSERT INTO trade_row_now SELECT r.app, r.item_key, r.at, CASE WHEN r.amount < 0 THEN 1 ELSE 0 END, r.file_id, p.no, r.amount, r.shipped, r.ship_hash, r.line, r.row_offset
FROM trade_row r JOIN trade_file f ON f.id = r.file_id JOIN trade_part p ON p.file_id = f.id AND p.seller_id = r.seller_id AND p.currency = r.currency
WHERE f.state IN ('SUCCESS', 'PARTIAL');
DROP TABLE trade_row;
ALTER TABLE trade_row_now RENAME TO trade_row;
