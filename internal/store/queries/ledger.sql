-- name: GetAccount :one
SELECT * FROM account WHERE app_id = sqlc.arg(app_id) AND kind = sqlc.arg(kind) AND seller_id = sqlc.arg(seller_id) AND currency = sqlc.arg(currency);

-- name: ListAccountsOf :many
SELECT * FROM account WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) AND currency = sqlc.arg(currency);

-- name: GetAccountByID :one
SELECT * FROM account WHERE id = sqlc.arg(id);

-- name: PageAccounts :many
SELECT * FROM account WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(kind) AS text) = '' OR kind = sqlc.arg(kind)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(currency) AS text) = '' OR currency = sqlc.arg(currency)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: GetShare :one
SELECT * FROM share WHERE id = sqlc.arg(id);

-- name: PageShares :many
SELECT * FROM share WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(currency) AS text) = '' OR currency = sqlc.arg(currency)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- A share that is held waits in the queue of settlements.
-- name: ListHeldSharesOf :many
SELECT s.* FROM task t JOIN share s ON s.id = t.record_id
WHERE t.queue = sqlc.arg(queue) AND s.app_id = sqlc.arg(app_id) AND s.seller_id = sqlc.arg(seller_id) AND s.currency = sqlc.arg(currency)
ORDER BY s.id DESC LIMIT sqlc.arg(most);

-- name: GetDeposit :one
SELECT * FROM deposit WHERE id = sqlc.arg(id);

-- name: FindDeposit :one
SELECT * FROM deposit WHERE currency = sqlc.arg(currency) AND bank_reference = sqlc.arg(bank_reference);

-- name: PageDeposits :many
SELECT * FROM deposit WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(currency) AS text) = '' OR currency = sqlc.arg(currency)) ORDER BY id DESC LIMIT sqlc.arg(most);
