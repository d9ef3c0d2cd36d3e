-- name: GetTradeFile :one
SELECT * FROM trade_file WHERE id = sqlc.arg(id);

-- name: NewestTradeFile :one
SELECT * FROM trade_file WHERE app_id = sqlc.arg(app_id) AND request_no = sqlc.arg(request_no) ORDER BY attempt DESC LIMIT 1;

-- name: PageTradeFiles :many
SELECT * FROM trade_file WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(request_no) AS text) = '' OR request_no = sqlc.arg(request_no)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: ListFilesToErase :many
SELECT id FROM trade_file WHERE app_id = sqlc.arg(app_id) AND erased_at = 0 AND finished_at <= sqlc.arg(until) AND state <> 'PROCESSING' ORDER BY finished_at, id LIMIT sqlc.arg(most);

-- name: InsertTradeRefused :exec
INSERT INTO trade_refused (id, file_id, sha256, size, at)
VALUES (sqlc.arg(id), sqlc.arg(file_id), sqlc.arg(sha256), sqlc.arg(size), sqlc.arg(at)) ON CONFLICT DO NOTHING;

-- name: ListTradeRefused :many
SELECT * FROM trade_refused WHERE file_id = sqlc.arg(file_id) ORDER BY id;

-- name: ListTradeParts :many
SELECT * FROM trade_part WHERE file_id = sqlc.arg(file_id) ORDER BY seller_id, currency;

-- The rows of a run that is not accepted do not count: no file names it.
-- name: PageBookedRows :many
SELECT r.item_key, r.at, r.returned, r.amount, r.shipped, r.ship_hash, r.line, p.currency, f.request_no, f.booked_no
FROM trade_row r JOIN trade_file f ON f.run_id = r.run_id JOIN trade_part p ON p.file_id = f.id AND p.no = r.part
WHERE r.app = sqlc.arg(app) AND r.item_key >= sqlc.arg(first) AND r.item_key <= sqlc.arg(last)
ORDER BY r.item_key, r.at, r.returned, r.run_id LIMIT sqlc.arg(most);

-- name: NextBookedNo :one
SELECT CAST(COALESCE(MAX(booked_no), 0) + 1 AS bigint) AS no FROM trade_file WHERE app_id = sqlc.arg(app_id);

-- name: InsertTradeRun :exec
INSERT INTO trade_run (id, app, swept, row_count) VALUES (sqlc.arg(id), sqlc.arg(app), 0, 0);

-- name: CountTradeRows :exec
UPDATE trade_run SET row_count = row_count + sqlc.arg(more) WHERE id = sqlc.arg(id);

-- A run is named by its file or swept, whichever comes first, and named only with all its rows.
-- name: TakeTradeRun :one
DELETE FROM trade_run WHERE id = sqlc.arg(id) AND swept = 0 AND row_count = sqlc.arg(row_count) RETURNING id;

-- name: SweepTradeRun :one
UPDATE trade_run SET swept = 1 WHERE id = sqlc.arg(id) RETURNING app;

-- name: DeleteTradeRun :exec
DELETE FROM trade_run WHERE id = sqlc.arg(id);

-- name: PageItemsOfApp :many
SELECT item_key, run_id FROM trade_row WHERE app = sqlc.arg(app) AND item_key >= sqlc.arg(first) ORDER BY item_key LIMIT sqlc.arg(most);

-- name: DeleteRowsOfRun :exec
DELETE FROM trade_row WHERE app = sqlc.arg(app) AND item_key >= sqlc.arg(first) AND item_key <= sqlc.arg(last) AND run_id = sqlc.arg(run_id);

-- name: AppHasRows :one
SELECT EXISTS (SELECT 1 FROM trade_file f WHERE f.app_id = sqlc.arg(app_id) AND f.state IN ('SUCCESS', 'PARTIAL', 'PROCESSING'));

-- name: PutTradeProgress :exec
INSERT INTO trade_progress (file_id, done) VALUES (sqlc.arg(file_id), sqlc.arg(done)) ON CONFLICT (file_id) DO UPDATE SET done = excluded.done;

-- name: GetTradeProgress :one
SELECT done FROM trade_progress WHERE file_id = sqlc.arg(file_id);

-- name: DeleteTradeProgress :exec
DELETE FROM trade_progress WHERE file_id = sqlc.arg(file_id);

-- name: PutResultFile :exec
INSERT INTO result_file (app_id, name, content_id, written_at)
VALUES (sqlc.arg(app_id), sqlc.arg(name), sqlc.arg(content_id), sqlc.arg(written_at))
ON CONFLICT (app_id, name) DO UPDATE SET content_id = excluded.content_id, written_at = excluded.written_at;

-- name: DeleteResultFile :exec
DELETE FROM result_file WHERE app_id = sqlc.arg(app_id) AND name = sqlc.arg(name);

-- name: DeleteResultOfContent :exec
DELETE FROM result_file WHERE content_id = sqlc.arg(content_id);

-- name: GetResultFile :one
SELECT * FROM result_file WHERE app_id = sqlc.arg(app_id) AND name = sqlc.arg(name);

-- name: PageResultFiles :many
SELECT r.name, r.written_at, c.size FROM result_file r JOIN content c ON c.id = r.content_id
WHERE r.app_id = sqlc.arg(app_id) AND r.name > sqlc.arg(after) ORDER BY r.name LIMIT sqlc.arg(most);

-- What is booked of one seller, order and sku. Of rows with one identity that of newest_no counts.
-- name: ListRowsOfItem :many
SELECT r.at, r.amount, r.shipped, r.line, p.currency, f.id AS file_id, f.request_no, f.attempt, f.booked_no,
    CAST(MAX(f.booked_no) OVER (PARTITION BY r.at, r.returned) AS bigint) AS newest_no
FROM trade_row r JOIN trade_file f ON f.run_id = r.run_id JOIN trade_part p ON p.file_id = f.id AND p.no = r.part
WHERE r.app = sqlc.arg(app) AND r.item_key = sqlc.arg(item_key)
ORDER BY r.at, r.returned, f.booked_no LIMIT sqlc.arg(most);

-- name: SumRowsOfItem :one
WITH booked AS (
    SELECT r.amount, r.shipped, ROW_NUMBER() OVER (PARTITION BY r.at, r.returned ORDER BY f.booked_no DESC) AS newer
    FROM trade_row r JOIN trade_file f ON f.run_id = r.run_id WHERE r.app = sqlc.arg(app) AND r.item_key = sqlc.arg(item_key)
)
SELECT COUNT(*) AS many, CAST(COALESCE(SUM(CASE WHEN newer = 1 AND amount > 0 AND shipped = 1 THEN amount ELSE 0 END), 0) AS bigint) AS shipped,
    CAST(COALESCE(SUM(CASE WHEN newer = 1 AND amount > 0 AND shipped = 0 THEN amount ELSE 0 END), 0) AS bigint) AS unshipped,
    CAST(COALESCE(SUM(CASE WHEN newer = 1 AND amount < 0 THEN -amount ELSE 0 END), 0) AS bigint) AS returned FROM booked;

-- name: ListRowsOfIdentity :many
SELECT r.run_id, r.row_offset, r.line, f.id AS file_id, f.request_no, f.attempt, f.booked_no
FROM trade_row r JOIN trade_file f ON f.run_id = r.run_id
WHERE r.app = sqlc.arg(app) AND r.item_key = sqlc.arg(item_key) AND r.at = sqlc.arg(at) AND r.returned = sqlc.arg(returned)
ORDER BY f.booked_no DESC;

-- Of the newest accepted files of an app and the newest others, those that have a seller's rows, or perhaps have some: nobody
-- has read them yet, or nobody could.
-- name: ListFilesOfSeller :many
WITH newest AS (
    SELECT failed.id FROM (SELECT f.id FROM trade_file f WHERE f.app_id = sqlc.arg(app_id) AND f.booked_no = 0 ORDER BY f.id DESC LIMIT sqlc.arg(most)) AS failed
    UNION ALL
    SELECT booked.id FROM (SELECT f.id FROM trade_file f WHERE f.app_id = sqlc.arg(app_id) AND f.booked_no > 0 ORDER BY f.booked_no DESC LIMIT sqlc.arg(most)) AS booked
)
SELECT sqlc.embed(trade_file), CAST(COALESCE(p.total_rows, 0) AS bigint) AS rows_of_seller, CAST(COALESCE(p.accepted_rows, 0) AS bigint) AS accepted_of_seller
FROM newest n JOIN trade_file ON trade_file.id = n.id
    LEFT JOIN trade_part p ON p.file_id = n.id AND p.seller_id = sqlc.arg(seller_id) AND p.currency = sqlc.arg(currency)
WHERE p.file_id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM trade_part any_part WHERE any_part.file_id = n.id)
ORDER BY trade_file.id DESC;
