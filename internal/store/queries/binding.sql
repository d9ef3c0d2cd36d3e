-- name: GetBinding :one
SELECT * FROM binding WHERE id = sqlc.arg(id);

-- name: ListBindingsOfSeller :many
SELECT * FROM binding WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) ORDER BY id;

-- name: FindBindingByLink :one
SELECT * FROM binding WHERE link_hash = sqlc.arg(link_hash) AND link_expires_at > 0;

-- name: PageBindings :many
SELECT * FROM binding WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);
