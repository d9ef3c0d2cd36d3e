-- name: GetSeller :one
SELECT * FROM seller WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id);

-- name: PageSellers :many
SELECT * FROM seller WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(status) AS text) = '' OR status = sqlc.arg(status)) ORDER BY id DESC LIMIT sqlc.arg(most);
