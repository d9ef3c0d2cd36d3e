-- What only the operator's API asks.

-- name: PageApps :many
SELECT * FROM app WHERE id < sqlc.arg(before) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: GetKey :one
SELECT * FROM app_key WHERE id = sqlc.arg(id);

-- name: PagePostingsWithAccounts :many
SELECT p.*, a.app_id, a.currency, a.kind AS from_kind, a.seller_id AS from_seller_id, b.kind AS to_kind, b.seller_id AS to_seller_id
FROM posting p JOIN account a ON a.id = p.from_id JOIN account b ON b.id = p.to_id
WHERE p.id < sqlc.arg(before) ORDER BY p.id DESC LIMIT sqlc.arg(most);

-- An account's postings are a chain, from its last one back.

-- name: ListPostingsOfAccount :many
WITH RECURSIVE chain (id, place) AS (
    SELECT p.id, 1 FROM posting p WHERE p.id = sqlc.arg(first_id)
    UNION ALL
    SELECT p.id, c.place + 1 FROM chain c JOIN posting b ON b.id = c.id
        JOIN posting p ON p.id = CASE WHEN b.from_id = sqlc.arg(account_id) THEN b.from_before_id ELSE b.to_before_id END
    WHERE c.place < CAST(sqlc.arg(most) AS integer)
)
SELECT p.*, a.app_id, a.currency, a.kind AS from_kind, a.seller_id AS from_seller_id, b.kind AS to_kind, b.seller_id AS to_seller_id
FROM chain c JOIN posting p ON p.id = c.id JOIN account a ON a.id = p.from_id JOIN account b ON b.id = p.to_id
ORDER BY c.place;

-- name: GetPostingBefore :one
SELECT CAST(CASE WHEN from_id = sqlc.arg(account_id) THEN from_before_id ELSE to_before_id END AS bigint) AS id FROM posting
WHERE id = sqlc.arg(id) AND (from_id = sqlc.arg(account_id) OR to_id = sqlc.arg(account_id));

-- An account's postings from one time to another, for a record or (0) all. At most as many as far are walked over.
-- name: SearchPostingsOfAccount :many
WITH RECURSIVE chain (id, place) AS (
    SELECT p.id, 1 FROM posting p WHERE p.id = sqlc.arg(first_id) AND p.at >= sqlc.arg(since)
    UNION ALL
    SELECT p.id, c.place + 1 FROM chain c JOIN posting b ON b.id = c.id
        JOIN posting p ON p.id = CASE WHEN b.from_id = sqlc.arg(account_id) THEN b.from_before_id ELSE b.to_before_id END
    WHERE c.place < CAST(sqlc.arg(far) AS integer) AND p.at >= sqlc.arg(since)
)
SELECT p.*, a.app_id, a.currency, a.kind AS from_kind, a.seller_id AS from_seller_id, b.kind AS to_kind, b.seller_id AS to_seller_id
FROM chain c JOIN posting p ON p.id = c.id JOIN account a ON a.id = p.from_id JOIN account b ON b.id = p.to_id
WHERE p.at <= sqlc.arg(until) AND (CAST(sqlc.arg(record_id) AS bigint) = 0 OR p.record_id = sqlc.arg(record_id))
ORDER BY c.place;
