-- name: GetBinding :one
SELECT * FROM binding WHERE id = sqlc.arg(id);

-- name: ListBindingsOfSeller :many
SELECT * FROM binding WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) ORDER BY id;

-- name: FindBindingByLink :one
SELECT * FROM binding WHERE link_hash = sqlc.arg(link_hash) AND link_expires_at > 0;

-- name: InsertBinding :exec
INSERT INTO binding (id, app_id, seller_id, currency, request_no, seller_cert_no, seller_name, store_name, store_url, entity_type, country, note, backlink_url, state, fail_reason, link_hash, link_expires_at, consent, created_at, confirm_by, confirmed_at, decided_at, bound_at)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(seller_id), sqlc.arg(currency), sqlc.arg(request_no), sqlc.arg(seller_cert_no), sqlc.arg(seller_name), sqlc.arg(store_name), sqlc.arg(store_url), sqlc.arg(entity_type), sqlc.arg(country), sqlc.arg(note), sqlc.arg(backlink_url), sqlc.arg(state), sqlc.arg(fail_reason), sqlc.arg(link_hash), sqlc.arg(link_expires_at), sqlc.arg(consent), sqlc.arg(created_at), sqlc.arg(confirm_by), sqlc.arg(confirmed_at), sqlc.arg(decided_at), sqlc.arg(bound_at));

-- name: UpdateBinding :exec
UPDATE binding SET state = sqlc.arg(state), fail_reason = sqlc.arg(fail_reason), link_hash = sqlc.arg(link_hash), link_expires_at = sqlc.arg(link_expires_at), consent = sqlc.arg(consent), confirmed_at = sqlc.arg(confirmed_at), decided_at = sqlc.arg(decided_at), bound_at = sqlc.arg(bound_at)
WHERE id = sqlc.arg(id);

-- name: PageBindings :many
SELECT * FROM binding WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);
