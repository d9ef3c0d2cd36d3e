-- name: GetContent :one
SELECT * FROM content WHERE id = sqlc.arg(id);

-- name: InsertContent :exec
INSERT INTO content (id, size, created_at) VALUES (sqlc.arg(id), sqlc.arg(size), sqlc.arg(created_at));

-- Also locks the row, so that the content is not removed while it is written or when something begins to refer to it.
-- name: GrowContent :one
UPDATE content SET size = size + sqlc.arg(more) WHERE id = sqlc.arg(id) RETURNING size;

-- name: ContentInUse :one
SELECT EXISTS (SELECT 1 FROM trade_file f WHERE f.content_id = sqlc.arg(id) UNION ALL SELECT 1 FROM trade_file f WHERE f.errors_id = sqlc.arg(id)
    UNION ALL SELECT 1 FROM result_file r WHERE r.content_id = sqlc.arg(id));

-- name: DeleteContent :exec
DELETE FROM content WHERE id = sqlc.arg(id);

-- name: InsertContentChunk :exec
INSERT INTO content_chunk (content_id, no, data) VALUES (sqlc.arg(content_id), sqlc.arg(no), sqlc.arg(data));

-- name: GetContentChunk :one
SELECT data FROM content_chunk WHERE content_id = sqlc.arg(content_id) AND no = sqlc.arg(no);

-- name: DeleteContentChunks :many
DELETE FROM content_chunk WHERE content_chunk.content_id = sqlc.arg(content_id)
    AND content_chunk.no IN (SELECT c.no FROM content_chunk c WHERE c.content_id = sqlc.arg(content_id) ORDER BY c.no LIMIT sqlc.arg(most)) RETURNING no;
