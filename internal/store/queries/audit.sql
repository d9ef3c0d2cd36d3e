-- name: GetAudit :one
SELECT * FROM audit WHERE reference = sqlc.arg(reference);

-- name: InsertAudit :exec
INSERT INTO audit (id, reference, act, actor, app_id, subject, reason, content_hash, before, after, at)
VALUES (sqlc.arg(id), sqlc.arg(reference), sqlc.arg(act), sqlc.arg(actor), sqlc.arg(app_id), sqlc.arg(subject), sqlc.arg(reason), sqlc.arg(content_hash), sqlc.arg(before), sqlc.arg(after), sqlc.arg(at));

-- name: PageAudits :many
SELECT * FROM audit WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(act) AS text) = '' OR act = sqlc.arg(act)) ORDER BY id DESC LIMIT sqlc.arg(most);
