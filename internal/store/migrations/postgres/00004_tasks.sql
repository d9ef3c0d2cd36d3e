-- +goose Up
-- What is due is looked for queue by queue.
DROP INDEX task_due;

-- +goose Down
CREATE INDEX task_due ON task (due_at, id);
