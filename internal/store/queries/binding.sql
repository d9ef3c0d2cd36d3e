-- name: GetBinding :one
SELECT * FROM binding WHERE id = sqlc.arg(id);

-- name: ListBindingsOfSeller :many
SELECT * FROM binding WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) ORDER BY id;

-- name: FindBindingByLink :one
SELECT * FROM binding WHERE link_hash = sqlc.arg(link_hash) AND link_expires_at > 0;

-- name: PageBindings :many
SELECT * FROM binding WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- Which of up to 16 sellers are, or once were, bound, and in which currencies; one may be named several times.
-- name: ListBoundOfSellers :many
SELECT DISTINCT seller_id, currency FROM binding WHERE app_id = sqlc.arg(app_id) AND bound_at > 0
    AND seller_id IN (sqlc.arg(seller_1), sqlc.arg(seller_2), sqlc.arg(seller_3), sqlc.arg(seller_4), sqlc.arg(seller_5), sqlc.arg(seller_6), sqlc.arg(seller_7), sqlc.arg(seller_8), sqlc.arg(seller_9), sqlc.arg(seller_10), sqlc.arg(seller_11), sqlc.arg(seller_12), sqlc.arg(seller_13), sqlc.arg(seller_14), sqlc.arg(seller_15), sqlc.arg(seller_16));
