-- name: GetTradeFile :one
SELECT * FROM trade_file WHERE id = sqlc.arg(id);

-- name: NewestTradeFile :one
SELECT * FROM trade_file WHERE app_id = sqlc.arg(app_id) AND request_no = sqlc.arg(request_no) ORDER BY attempt DESC LIMIT 1;

-- name: PageTradeFiles :many
SELECT * FROM trade_file WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(request_no) AS text) = '' OR request_no = sqlc.arg(request_no)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: InsertTradeRefused :exec
INSERT INTO trade_refused (id, file_id, sha256, size, at)
VALUES (sqlc.arg(id), sqlc.arg(file_id), sqlc.arg(sha256), sqlc.arg(size), sqlc.arg(at)) ON CONFLICT DO NOTHING;

-- name: ListTradeRefused :many
SELECT * FROM trade_refused WHERE file_id = sqlc.arg(file_id) ORDER BY id;

-- name: InsertTradePart :exec
INSERT INTO trade_part (file_id, seller_id, currency, total_rows, accepted_rows, rejected_rows)
VALUES (sqlc.arg(file_id), sqlc.arg(seller_id), sqlc.arg(currency), sqlc.arg(total_rows), sqlc.arg(accepted_rows), sqlc.arg(rejected_rows));

-- name: ListTradeParts :many
SELECT * FROM trade_part WHERE file_id = sqlc.arg(file_id) ORDER BY seller_id, currency;

-- name: InsertTradeRow :exec
INSERT INTO trade_row (app, row_key, file_id, item_key, seller_id, currency, amount, at, shipped, ship_hash, line, row_offset, row_length)
VALUES (sqlc.arg(app), sqlc.arg(row_key), sqlc.arg(file_id), sqlc.arg(item_key), sqlc.arg(seller_id), sqlc.arg(currency), sqlc.arg(amount), sqlc.arg(at), sqlc.arg(shipped), sqlc.arg(ship_hash), sqlc.arg(line), sqlc.arg(row_offset), sqlc.arg(row_length));

-- name: FindBookedRow :one
SELECT r.*, f.request_no AS file_request_no FROM trade_row r JOIN trade_file f ON f.id = r.file_id
WHERE r.app = sqlc.arg(app) AND r.row_key = sqlc.arg(row_key) AND f.state IN ('SUCCESS', 'PARTIAL');

-- name: ListBookedRowsOfItem :many
SELECT r.* FROM trade_row r JOIN trade_file f ON f.id = r.file_id
WHERE r.app = sqlc.arg(app) AND r.item_key = sqlc.arg(item_key) AND f.state IN ('SUCCESS', 'PARTIAL');

-- name: UpdateBookedRow :exec
UPDATE trade_row SET shipped = sqlc.arg(shipped), ship_hash = sqlc.arg(ship_hash)
WHERE app = sqlc.arg(app) AND row_key = sqlc.arg(row_key)
    AND file_id IN (SELECT f.id FROM trade_file f WHERE f.id = trade_row.file_id AND f.state IN ('SUCCESS', 'PARTIAL'));

-- Of a file that was not booked.
-- name: DeleteRowsOfFile :exec
DELETE FROM trade_row WHERE file_id = sqlc.arg(file_id)
    AND EXISTS (SELECT 1 FROM trade_file f WHERE f.id = trade_row.file_id AND f.state IN ('PROCESSING', 'FAILED'));

-- name: CountRowsOfFile :one
SELECT COUNT(*) FROM trade_row WHERE file_id = sqlc.arg(file_id);

-- name: AppHasRows :one
SELECT EXISTS (SELECT 1 FROM trade_file f WHERE f.app_id = sqlc.arg(app_id) AND f.state IN ('SUCCESS', 'PARTIAL', 'PROCESSING'));

-- name: PutResultFile :exec
INSERT INTO result_file (app_id, name, content_id, written_at)
VALUES (sqlc.arg(app_id), sqlc.arg(name), sqlc.arg(content_id), sqlc.arg(written_at))
ON CONFLICT (app_id, name) DO UPDATE SET content_id = excluded.content_id, written_at = excluded.written_at;

-- name: DeleteResultFile :exec
DELETE FROM result_file WHERE app_id = sqlc.arg(app_id) AND name = sqlc.arg(name);

-- name: GetResultFile :one
SELECT * FROM result_file WHERE app_id = sqlc.arg(app_id) AND name = sqlc.arg(name);

-- name: ListResultFiles :many
SELECT r.name, r.written_at, c.size FROM result_file r JOIN content c ON c.id = r.content_id
WHERE r.app_id = sqlc.arg(app_id) ORDER BY r.name;
