-- +goose Up
-- When and why the kept bytes of a file were erased, and when buyers were last blanked in them.
ALTER TABLE trade_file ADD COLUMN erased_at integer NOT NULL DEFAULT 0;
ALTER TABLE trade_file ADD COLUMN erase_reason text NOT NULL DEFAULT '';
ALTER TABLE trade_file ADD COLUMN redacted_at integer NOT NULL DEFAULT 0;
CREATE INDEX trade_file_kept ON trade_file (app_id, erased_at, finished_at);
CREATE INDEX trade_file_redacted ON trade_file (app_id, redacted_at);

-- The key that a chunk is encrypted under, empty when it is in clear.
ALTER TABLE content_chunk ADD COLUMN key_id text NOT NULL DEFAULT '';
CREATE INDEX content_chunk_key ON content_chunk (key_id, content_id, no);

-- +goose Down
DROP INDEX content_chunk_key;
ALTER TABLE content_chunk DROP COLUMN key_id;
DROP INDEX trade_file_redacted;
DROP INDEX trade_file_kept;
ALTER TABLE trade_file DROP COLUMN redacted_at;
ALTER TABLE trade_file DROP COLUMN erase_reason;
ALTER TABLE trade_file DROP COLUMN erased_at;
