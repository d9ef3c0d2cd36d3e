-- name: GetRequest :one
SELECT * FROM request WHERE app_id = sqlc.arg(app_id) AND operation = sqlc.arg(operation) AND request_no = sqlc.arg(request_no);
