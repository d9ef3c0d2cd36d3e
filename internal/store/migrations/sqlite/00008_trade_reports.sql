-- +goose Up
-- Which rules a file breaks, and how often, as JSON.
ALTER TABLE trade_file ADD COLUMN broken text NOT NULL DEFAULT '';

-- How far a file that is being judged has come, in thousandths of the work.
CREATE TABLE trade_progress (
    file_id integer PRIMARY KEY,
    done    integer NOT NULL
) STRICT;

-- +goose Down
DROP TABLE trade_progress;
ALTER TABLE trade_file DROP COLUMN broken;
