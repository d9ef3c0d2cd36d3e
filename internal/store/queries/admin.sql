-- What only the operator's API asks.

-- name: PageApps :many
SELECT * FROM app WHERE id < sqlc.arg(before) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: GetKey :one
SELECT * FROM app_key WHERE id = sqlc.arg(id);

-- name: PagePostingsWithAccounts :many
SELECT p.*, a.app_id, a.currency, a.kind AS from_kind, a.seller_id AS from_seller_id, b.kind AS to_kind, b.seller_id AS to_seller_id
FROM posting p JOIN account a ON a.id = p.from_id JOIN account b ON b.id = p.to_id
WHERE p.id < sqlc.arg(before) ORDER BY p.id DESC LIMIT sqlc.arg(most);

-- An account's numbers have no gap, so that a range of them is a page, however long the account is.

-- name: ListPostingsOfAccount :many
SELECT p.*, a.app_id, a.currency, a.kind AS from_kind, a.seller_id AS from_seller_id, b.kind AS to_kind, b.seller_id AS to_seller_id
FROM posting p JOIN account a ON a.id = p.from_id JOIN account b ON b.id = p.to_id
WHERE (p.from_id = sqlc.arg(account_id) AND p.from_no >= sqlc.arg(first_no) AND p.from_no < sqlc.arg(before_no))
    OR (p.to_id = sqlc.arg(account_id) AND p.to_no >= sqlc.arg(first_no) AND p.to_no < sqlc.arg(before_no));
