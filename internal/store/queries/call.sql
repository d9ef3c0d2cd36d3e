-- name: PageCalls :many
SELECT * FROM call WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(operation) AS text) = '' OR operation = sqlc.arg(operation)) AND (CAST(sqlc.arg(request_no) AS text) = '' OR request_no = sqlc.arg(request_no)) AND (CAST(sqlc.arg(code) AS text) = '' OR code = sqlc.arg(code)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: PruneCalls :exec
DELETE FROM call WHERE id IN (SELECT c.id FROM call c ORDER BY c.id LIMIT sqlc.arg(most)) AND call.at < sqlc.arg(before);
