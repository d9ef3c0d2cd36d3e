-- +goose Up
-- The postings of an account are a chain: the account knows its last one, and each knows the one before it on either side, 0
-- for the first. An index of postings by account would be written to in as many places as there are accounts.
ALTER TABLE posting ADD COLUMN from_before_id bigint NOT NULL DEFAULT 0;
ALTER TABLE posting ADD COLUMN to_before_id bigint NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN last_posting_id bigint NOT NULL DEFAULT 0;
UPDATE posting SET
    from_before_id = COALESCE((SELECT p.id FROM posting p WHERE p.from_id = posting.from_id AND p.from_no = posting.from_no - 1),
        (SELECT p.id FROM posting p WHERE p.to_id = posting.from_id AND p.to_no = posting.from_no - 1), 0),
    to_before_id = COALESCE((SELECT p.id FROM posting p WHERE p.from_id = posting.to_id AND p.from_no = posting.to_no - 1),
        (SELECT p.id FROM posting p WHERE p.to_id = posting.to_id AND p.to_no = posting.to_no - 1), 0);
UPDATE account SET last_posting_id = COALESCE((SELECT p.id FROM posting p WHERE p.from_id = account.id AND p.from_no = account.last_no),
    (SELECT p.id FROM posting p WHERE p.to_id = account.id AND p.to_no = account.last_no), 0);
DROP INDEX posting_from;
DROP INDEX posting_to;

-- +goose Down
CREATE UNIQUE INDEX posting_from ON posting (from_id, from_no);
CREATE UNIQUE INDEX posting_to ON posting (to_id, to_no);
ALTER TABLE posting DROP COLUMN from_before_id;
ALTER TABLE posting DROP COLUMN to_before_id;
ALTER TABLE account DROP COLUMN last_posting_id;
