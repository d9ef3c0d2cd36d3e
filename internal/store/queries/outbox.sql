-- name: GetDelivery :one
SELECT * FROM delivery WHERE id = sqlc.arg(id);

-- name: ListOpenDeliveriesOfSeller :many
SELECT * FROM delivery WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) AND state IN ('PENDING', 'DEAD') ORDER BY id;

-- name: NewestStatusDelivery :one
SELECT * FROM delivery WHERE app_id = sqlc.arg(app_id) AND seller_id = sqlc.arg(seller_id) AND event = sqlc.arg(event) ORDER BY id DESC LIMIT 1;

-- name: PageDeliveries :many
SELECT * FROM delivery WHERE id < sqlc.arg(before) AND (CAST(sqlc.arg(app_id) AS text) = '' OR app_id = sqlc.arg(app_id)) AND (CAST(sqlc.arg(seller_id) AS text) = '' OR seller_id = sqlc.arg(seller_id)) AND (CAST(sqlc.arg(state) AS text) = '' OR state = sqlc.arg(state)) ORDER BY id DESC LIMIT sqlc.arg(most);

-- name: ListAttempts :many
SELECT * FROM delivery_attempt WHERE delivery_id = sqlc.arg(delivery_id) ORDER BY attempt;

-- name: QueueHasTask :one
SELECT EXISTS (SELECT 1 FROM task WHERE queue = sqlc.arg(queue));

-- name: MoveTask :exec
UPDATE task SET due_at = sqlc.arg(due_at) WHERE id = sqlc.arg(id);

-- Every queue that has tasks, and when the first of them is due. Steps from one queue to the next in the index, so that the
-- other tasks cost nothing.
-- name: ListQueues :many
WITH RECURSIVE q(queue) AS (
    SELECT MIN(t.queue) FROM task t
    UNION ALL
    SELECT (SELECT MIN(t.queue) FROM task t WHERE t.queue > q.queue) FROM q WHERE q.queue IS NOT NULL
)
SELECT CAST(q.queue AS text) AS queue, CAST((SELECT MIN(t.due_at) FROM task t WHERE t.queue = q.queue) AS bigint) AS due_at FROM q
WHERE q.queue IS NOT NULL ORDER BY q.queue;

-- name: ListDueTasks :many
SELECT * FROM task WHERE queue = sqlc.arg(queue) AND due_at <= sqlc.arg(now) ORDER BY due_at, id LIMIT sqlc.arg(most);

-- name: ListSharesOfDueTasks :many
SELECT s.* FROM task t JOIN share s ON s.id = t.record_id
WHERE t.queue = sqlc.arg(queue) AND t.due_at <= sqlc.arg(now) ORDER BY t.due_at, t.id LIMIT sqlc.arg(most);

