-- name: GetRequest :one
SELECT * FROM request WHERE app_id = sqlc.arg(app_id) AND operation = sqlc.arg(operation) AND request_no = sqlc.arg(request_no);

-- name: InsertRequest :exec
INSERT INTO request (id, app_id, operation, request_no, field_hashes, code, fields, record_id, at)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(operation), sqlc.arg(request_no), sqlc.arg(field_hashes), sqlc.arg(code), sqlc.arg(fields), sqlc.arg(record_id), sqlc.arg(at));
