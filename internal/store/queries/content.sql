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
INSERT INTO content_chunk (content_id, no, data, key_id) VALUES (sqlc.arg(content_id), sqlc.arg(no), sqlc.arg(data), sqlc.arg(key_id));

-- name: UpdateContentChunk :exec
UPDATE content_chunk SET data = sqlc.arg(data), key_id = sqlc.arg(key_id) WHERE content_id = sqlc.arg(content_id) AND no = sqlc.arg(no);

-- name: GetContentChunk :one
SELECT data, key_id FROM content_chunk WHERE content_id = sqlc.arg(content_id) AND no = sqlc.arg(no);

-- name: DeleteContentChunks :many
DELETE FROM content_chunk WHERE content_chunk.content_id = sqlc.arg(content_id)
    AND content_chunk.no IN (SELECT c.no FROM content_chunk c WHERE c.content_id = sqlc.arg(content_id) ORDER BY c.no LIMIT sqlc.arg(most)) RETURNING no;

-- Every key under which there are chunks, and how many. Clear ones have none.
-- name: CountChunksByKey :many
SELECT key_id, COUNT(*) AS chunks FROM content_chunk GROUP BY key_id ORDER BY key_id;

-- The same without counting: steps from one key to the next in the index.
-- name: ListChunkKeys :many
WITH RECURSIVE k(key_id) AS (
    SELECT MIN(c.key_id) FROM content_chunk c
    UNION ALL
    SELECT (SELECT MIN(c.key_id) FROM content_chunk c WHERE c.key_id > k.key_id) FROM k WHERE k.key_id IS NOT NULL
)
SELECT CAST(k.key_id AS text) AS key_id FROM k WHERE k.key_id IS NOT NULL;

-- name: ListChunksUnderKey :many
SELECT content_id, no FROM content_chunk WHERE key_id = sqlc.arg(key_id) ORDER BY content_id, no LIMIT sqlc.arg(most);
