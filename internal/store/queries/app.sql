-- name: GetApp :one
SELECT * FROM app WHERE app_id = sqlc.arg(app_id);

-- name: InsertApp :exec
INSERT INTO app (id, app_id, name, disabled, settings, created_at, changes, revision)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(name), sqlc.arg(disabled), sqlc.arg(settings), sqlc.arg(created_at), sqlc.arg(changes), sqlc.arg(revision));

-- name: UpdateApp :exec
UPDATE app SET name = sqlc.arg(name), disabled = sqlc.arg(disabled), settings = sqlc.arg(settings)
WHERE app_id = sqlc.arg(app_id);

-- name: ListKeysOfApp :many
SELECT * FROM app_key WHERE app_id = sqlc.arg(app_id) ORDER BY id;

-- name: ListKeysWithApp :many
SELECT sqlc.embed(app), sqlc.embed(app_key) FROM app JOIN app_key ON app_key.app_id = app.app_id WHERE app.app_id = sqlc.arg(app_id) ORDER BY app_key.id;

-- name: FindKey :one
SELECT * FROM app_key WHERE owner = sqlc.arg(owner) AND fingerprint = sqlc.arg(fingerprint);

-- name: InsertAppKey :exec
INSERT INTO app_key (id, app_id, owner, fingerprint, public_key, private_key, retired_at, made_primary_at, first_used_at, created_at)
VALUES (sqlc.arg(id), sqlc.arg(app_id), sqlc.arg(owner), sqlc.arg(fingerprint), sqlc.arg(public_key), sqlc.arg(private_key), sqlc.arg(retired_at), sqlc.arg(made_primary_at), sqlc.arg(first_used_at), sqlc.arg(created_at));

-- name: RetireKey :exec
UPDATE app_key SET retired_at = sqlc.arg(retired_at) WHERE id = sqlc.arg(id);

-- name: MakeKeyPrimary :exec
UPDATE app_key SET made_primary_at = sqlc.arg(made_primary_at) WHERE id = sqlc.arg(id);

-- name: MarkKeyUsed :exec
UPDATE app_key SET first_used_at = sqlc.arg(first_used_at) WHERE id = sqlc.arg(id) AND first_used_at = 0;
