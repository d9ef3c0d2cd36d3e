-- What a sandbox forgets when it begins anew: everything but apps, keys, secrets and the acts that made them.

-- name: ResetRequests :exec
DELETE FROM request;

-- name: ResetSellers :exec
DELETE FROM seller;

-- name: ResetBindings :exec
DELETE FROM binding;

-- name: ResetAccounts :exec
DELETE FROM account;

-- name: ResetPostings :exec
DELETE FROM posting;

-- name: ResetShares :exec
DELETE FROM share;

-- name: ResetDeposits :exec
DELETE FROM deposit;

-- name: ResetTradeFiles :exec
DELETE FROM trade_file;

-- name: ResetTradeRefused :exec
DELETE FROM trade_refused;

-- name: ResetTradeParts :exec
DELETE FROM trade_part;

-- name: ResetTradeRuns :exec
DELETE FROM trade_run;

-- name: ResetTradeRows :exec
DELETE FROM trade_row;

-- name: ResetResultFiles :exec
DELETE FROM result_file;

-- name: ResetContents :exec
DELETE FROM content;

-- name: ResetContentChunks :exec
DELETE FROM content_chunk;

-- name: ResetDeliveries :exec
DELETE FROM delivery;

-- name: ResetDeliveryAttempts :exec
DELETE FROM delivery_attempt;

-- name: ResetTasks :exec
DELETE FROM task WHERE queue <> 'keep';

-- name: ResetCalls :exec
DELETE FROM call;

-- name: ResetAudits :exec
DELETE FROM audit WHERE act NOT LIKE 'app.%' AND act NOT LIKE 'key.%';
