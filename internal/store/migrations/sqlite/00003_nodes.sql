-- +goose Up
-- Used on PostgreSQL: how many groups have changed rows of the app.
ALTER TABLE app ADD COLUMN changes integer NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE app DROP COLUMN changes;
