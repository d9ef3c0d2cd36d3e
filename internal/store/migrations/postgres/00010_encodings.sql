-- +goose Up
-- In which encoding a file was read: what is blanked in it must not let another be guessed. Empty where it was judged before.
ALTER TABLE trade_file ADD COLUMN encoding text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE trade_file DROP COLUMN encoding;
