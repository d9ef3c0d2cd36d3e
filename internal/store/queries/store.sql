-- name: TakeIDs :one
UPDATE id_block SET next = next + sqlc.arg(many) WHERE name = sqlc.arg(name) RETURNING next;

-- name: GetSecret :one
SELECT value FROM secret WHERE name = sqlc.arg(name);

-- name: InsertSecret :exec
INSERT INTO secret (name, value) VALUES (sqlc.arg(name), sqlc.arg(value)) ON CONFLICT DO NOTHING;
