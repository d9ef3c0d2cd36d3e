-- name: GetAudit :one
SELECT * FROM audit WHERE reference = sqlc.arg(reference);

-- name: PageAudits :many
SELECT * FROM audit WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(act) AS text) = '' OR act = sqlc.arg(act)) ORDER BY id DESC LIMIT sqlc.arg(most);
