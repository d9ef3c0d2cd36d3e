-- name: GetSeller :one
SELECT * FROM seller WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id);

-- name: InsertSeller :exec
INSERT INTO seller (id, app_id, seller_id, status, changed_at, created_at)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(seller_id), sqlc.arg(status), sqlc.arg(changed_at), sqlc.arg(created_at));

-- name: UpdateSeller :exec
UPDATE seller SET status = sqlc.arg(status), changed_at = sqlc.arg(changed_at)
WHERE id = sqlc.arg(id);

-- name: PageSellers :many
SELECT * FROM seller WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(status) AS text) = '' OR status = sqlc.arg(status)) ORDER BY id DESC LIMIT sqlc.arg(most);
