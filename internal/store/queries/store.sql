-- name: GetSecret :one
SELECT value FROM secret WHERE name = sqlc.arg(name);

-- name: InsertSecret :exec
INSERT INTO secret (name, value) VALUES (sqlc.arg(name), sqlc.arg(value)) ON CONFLICT DO NOTHING;

-- name: PutSecret :exec
INSERT INTO secret (name, value) VALUES (sqlc.arg(name), sqlc.arg(value)) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- Whether any row of a group is there: the group is one transaction, so that one stands for all. An id of 0 names none.
-- name: CountWritten :one
SELECT (SELECT COUNT(*) FROM request r WHERE r.id = sqlc.arg(request_id)) + (SELECT COUNT(*) FROM posting p WHERE p.id = sqlc.arg(posting_id))
    + (SELECT COUNT(*) FROM audit a WHERE a.id = sqlc.arg(audit_id)) + (SELECT COUNT(*) FROM share s WHERE s.id = sqlc.arg(share_id))
    + (SELECT COUNT(*) FROM trade_file f WHERE f.id = sqlc.arg(file_id)) AS written;
