-- +goose Up
-- Whole files: uploads, error files, results. A chunk is compressed by itself, so that reading can begin anywhere.
CREATE TABLE content (
    id         bigint PRIMARY KEY,
    size       bigint NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE content_chunk (
    content_id bigint NOT NULL,
    no         bigint NOT NULL,
    data       bytea NOT NULL,
    PRIMARY KEY (content_id, no)
);
ALTER TABLE content_chunk ALTER COLUMN data SET STORAGE EXTERNAL; -- it is compressed already

-- content_id: the upload; errors_id: its error file, 0 when there is none.
ALTER TABLE trade_file DROP COLUMN path;
ALTER TABLE trade_file ADD COLUMN content_id bigint NOT NULL DEFAULT 0;
ALTER TABLE trade_file ADD COLUMN errors_id bigint NOT NULL DEFAULT 0;
CREATE INDEX trade_file_content ON trade_file (content_id);
CREATE INDEX trade_file_errors ON trade_file (errors_id);

-- What an app finds in /result.
CREATE TABLE result_file (
    app_id     text NOT NULL,
    name       text NOT NULL,
    content_id bigint NOT NULL,
    written_at bigint NOT NULL,
    PRIMARY KEY (app_id, name)
);
CREATE INDEX result_file_content ON result_file (content_id);

-- +goose Down
DROP TABLE result_file;
DROP INDEX trade_file_errors;
DROP INDEX trade_file_content;
ALTER TABLE trade_file DROP COLUMN errors_id;
ALTER TABLE trade_file DROP COLUMN content_id;
ALTER TABLE trade_file ADD COLUMN path text NOT NULL DEFAULT '';
DROP TABLE content_chunk;
DROP TABLE content;
