-- name: GetBinding :one
SELECT * FROM binding WHERE id = sqlc.arg(id);

-- name: ListBindingsOfSeller :many
SELECT * FROM binding WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) ORDER BY id;

-- name: FindBindingByLink :one
SELECT * FROM binding WHERE link_hash = sqlc.arg(link_hash) AND link_expires_at > 0;

-- name: PageBindings :many
SELECT * FROM binding WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- Which of up to 16 sellers are, or once were, bound, and in which currencies; one may be named several times. For an IN with
-- as many, PostgreSQL reads the whole of a table that it knows little of.
-- name: ListBoundOfSellers :many
SELECT b1.seller_id, b1.currency FROM binding b1 WHERE b1.app_id = sqlc.arg(app_id) AND b1.seller_id = sqlc.arg(seller_1) AND b1.bound_at > 0
UNION ALL SELECT b2.seller_id, b2.currency FROM binding b2 WHERE b2.app_id = sqlc.arg(app_id) AND b2.seller_id = sqlc.arg(seller_2) AND b2.bound_at > 0
UNION ALL SELECT b3.seller_id, b3.currency FROM binding b3 WHERE b3.app_id = sqlc.arg(app_id) AND b3.seller_id = sqlc.arg(seller_3) AND b3.bound_at > 0
UNION ALL SELECT b4.seller_id, b4.currency FROM binding b4 WHERE b4.app_id = sqlc.arg(app_id) AND b4.seller_id = sqlc.arg(seller_4) AND b4.bound_at > 0
UNION ALL SELECT b5.seller_id, b5.currency FROM binding b5 WHERE b5.app_id = sqlc.arg(app_id) AND b5.seller_id = sqlc.arg(seller_5) AND b5.bound_at > 0
UNION ALL SELECT b6.seller_id, b6.currency FROM binding b6 WHERE b6.app_id = sqlc.arg(app_id) AND b6.seller_id = sqlc.arg(seller_6) AND b6.bound_at > 0
UNION ALL SELECT b7.seller_id, b7.currency FROM binding b7 WHERE b7.app_id = sqlc.arg(app_id) AND b7.seller_id = sqlc.arg(seller_7) AND b7.bound_at > 0
UNION ALL SELECT b8.seller_id, b8.currency FROM binding b8 WHERE b8.app_id = sqlc.arg(app_id) AND b8.seller_id = sqlc.arg(seller_8) AND b8.bound_at > 0
UNION ALL SELECT b9.seller_id, b9.currency FROM binding b9 WHERE b9.app_id = sqlc.arg(app_id) AND b9.seller_id = sqlc.arg(seller_9) AND b9.bound_at > 0
UNION ALL SELECT b10.seller_id, b10.currency FROM binding b10 WHERE b10.app_id = sqlc.arg(app_id) AND b10.seller_id = sqlc.arg(seller_10) AND b10.bound_at > 0
UNION ALL SELECT b11.seller_id, b11.currency FROM binding b11 WHERE b11.app_id = sqlc.arg(app_id) AND b11.seller_id = sqlc.arg(seller_11) AND b11.bound_at > 0
UNION ALL SELECT b12.seller_id, b12.currency FROM binding b12 WHERE b12.app_id = sqlc.arg(app_id) AND b12.seller_id = sqlc.arg(seller_12) AND b12.bound_at > 0
UNION ALL SELECT b13.seller_id, b13.currency FROM binding b13 WHERE b13.app_id = sqlc.arg(app_id) AND b13.seller_id = sqlc.arg(seller_13) AND b13.bound_at > 0
UNION ALL SELECT b14.seller_id, b14.currency FROM binding b14 WHERE b14.app_id = sqlc.arg(app_id) AND b14.seller_id = sqlc.arg(seller_14) AND b14.bound_at > 0
UNION ALL SELECT b15.seller_id, b15.currency FROM binding b15 WHERE b15.app_id = sqlc.arg(app_id) AND b15.seller_id = sqlc.arg(seller_15) AND b15.bound_at > 0
UNION ALL SELECT b16.seller_id, b16.currency FROM binding b16 WHERE b16.app_id = sqlc.arg(app_id) AND b16.seller_id = sqlc.arg(seller_16) AND b16.bound_at > 0;
