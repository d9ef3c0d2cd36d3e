-- name: GetAccount :one
SELECT * FROM account WHERE app_id = sqlc.arg(app_id) AND kind = sqlc.arg(kind) AND seller_id = sqlc.arg(seller_id) AND currency = sqlc.arg(currency);

-- name: ListAccountsOf :many
SELECT * FROM account WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) AND currency = sqlc.arg(currency);

-- name: GetAccountByID :one
SELECT * FROM account WHERE id = sqlc.arg(id);

-- name: InsertAccount :exec
INSERT INTO account (id, app_id, kind, seller_id, currency, balance, held, last_no, last_at, day, day_amount)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(kind), sqlc.arg(seller_id), sqlc.arg(currency), sqlc.arg(balance), sqlc.arg(held), sqlc.arg(last_no), sqlc.arg(last_at), sqlc.arg(day), sqlc.arg(day_amount));

-- name: UpdateAccount :exec
UPDATE account SET balance = sqlc.arg(balance), held = sqlc.arg(held), last_no = sqlc.arg(last_no), last_at = sqlc.arg(last_at), day = sqlc.arg(day), day_amount = sqlc.arg(day_amount)
WHERE id = sqlc.arg(id);

-- name: PageAccounts :many
SELECT * FROM account WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(kind) AS text) = '' OR kind = sqlc.arg(kind)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(currency) AS text) = '' OR currency = sqlc.arg(currency)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: InsertPosting :exec
INSERT INTO posting (id, purpose, record_id, amount, from_id, from_no, from_balance, to_id, to_no, to_balance, at)
VALUES (sqlc.arg(id), sqlc.arg(purpose), sqlc.arg(record_id), sqlc.arg(amount), sqlc.arg(from_id), sqlc.arg(from_no), sqlc.arg(from_balance), sqlc.arg(to_id), sqlc.arg(to_no), sqlc.arg(to_balance), sqlc.arg(at));

-- name: GetShare :one
SELECT * FROM share WHERE id = sqlc.arg(id);

-- name: InsertShare :exec
INSERT INTO share (id, app_id, request_no, seller_id, currency, amount, note, binding_id, state, fail_code, allowed, committed, cap, day, accepted_at, finished_at)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(request_no), sqlc.arg(seller_id), sqlc.arg(currency), sqlc.arg(amount), sqlc.arg(note), sqlc.arg(binding_id), sqlc.arg(state), sqlc.arg(fail_code), sqlc.arg(allowed), sqlc.arg(committed), sqlc.arg(cap), sqlc.arg(day), sqlc.arg(accepted_at), sqlc.arg(finished_at));

-- name: UpdateShare :exec
UPDATE share SET state = sqlc.arg(state), fail_code = sqlc.arg(fail_code), finished_at = sqlc.arg(finished_at)
WHERE id = sqlc.arg(id);

-- name: PageShares :many
SELECT * FROM share WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(currency) AS text) = '' OR currency = sqlc.arg(currency)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: GetDeposit :one
SELECT * FROM deposit WHERE id = sqlc.arg(id);

-- name: FindDeposit :one
SELECT * FROM deposit WHERE currency = sqlc.arg(currency) AND bank_reference = sqlc.arg(bank_reference);

-- name: InsertDeposit :exec
INSERT INTO deposit (id, app_id, currency, amount, bank_reference, value_date, payer, booked_at, reversed_at)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(currency), sqlc.arg(amount), sqlc.arg(bank_reference), sqlc.arg(value_date), sqlc.arg(payer), sqlc.arg(booked_at), sqlc.arg(reversed_at));

-- name: UpdateDeposit :exec
UPDATE deposit SET reversed_at = sqlc.arg(reversed_at)
WHERE id = sqlc.arg(id);

-- name: PageDeposits :many
SELECT * FROM deposit WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(currency) AS text) = '' OR currency = sqlc.arg(currency)) ORDER BY id DESC LIMIT sqlc.arg(most);
