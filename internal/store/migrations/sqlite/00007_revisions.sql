-- +goose Up
-- How often acts beside the books (settings, keys) have changed what an app is: a node that has read the app tells by it
-- whether that still holds.
ALTER TABLE app ADD COLUMN revision integer NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE app DROP COLUMN revision;
