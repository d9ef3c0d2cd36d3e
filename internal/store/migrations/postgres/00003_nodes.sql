-- +goose Up
-- Nodes draw ids from a sequence, a block for each group of units, while they hold its apps: what an app sees later has
-- the higher id, whichever node wrote it.
CREATE SEQUENCE row_id INCREMENT 8192;
SELECT setval('row_id', next) FROM id_block WHERE name = 'row';
DROP TABLE id_block;

-- How many groups have changed rows of the app. A node that finds the number which it left itself knows those rows.
ALTER TABLE app ADD COLUMN changes bigint NOT NULL DEFAULT 0;
ALTER TABLE app SET (fillfactor = 50);

-- Rows that change in place, again and again, need room for it on their page.
ALTER TABLE account SET (fillfactor = 70);

-- What is left of a limit that holds over all nodes together, in thousandths. Nothing is lost with it.
CREATE UNLOGGED TABLE bucket (
    name text PRIMARY KEY,
    units bigint NOT NULL,
    at    timestamptz NOT NULL
);

-- +goose Down
DROP TABLE bucket;
ALTER TABLE app DROP COLUMN changes;
CREATE TABLE id_block (
    name text PRIMARY KEY,
    next bigint NOT NULL
);
INSERT INTO id_block (name, next) SELECT 'row', nextval('row_id');
DROP SEQUENCE row_id;
