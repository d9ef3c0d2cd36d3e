-- +goose Up
-- Which rules a file breaks, and how often, as JSON.
ALTER TABLE trade_file ADD COLUMN broken text NOT NULL DEFAULT '';

-- How many rows a run has, counted by the commits that write them: what a failover has lost is missed when a file names it.
ALTER TABLE trade_run ADD COLUMN row_count integer NOT NULL DEFAULT 0;

-- How far a file that is being judged has come, in thousandths of the work.
CREATE TABLE trade_progress (
    file_id integer PRIMARY KEY,
    done    integer NOT NULL
) STRICT;

-- +goose Down
DROP TABLE trade_progress;
ALTER TABLE trade_run DROP COLUMN row_count;
ALTER TABLE trade_file DROP COLUMN broken;
