-- Each query finds what must not be there; a sound database answers all of them with no row.

-- name: VerifySums :many
SELECT app_id, currency, CAST(SUM(CASE WHEN kind IN ('external', 'platform', 'seller', 'fees') THEN balance ELSE 0 END) AS bigint) AS money,
    CAST(SUM(CASE WHEN kind IN ('external', 'platform', 'seller', 'fees') THEN 0 ELSE balance END) AS bigint) AS entitlement
FROM account GROUP BY app_id, currency
HAVING SUM(CASE WHEN kind IN ('external', 'platform', 'seller', 'fees') THEN balance ELSE 0 END) <> 0
    OR SUM(CASE WHEN kind IN ('external', 'platform', 'seller', 'fees') THEN 0 ELSE balance END) <> 0;

-- name: VerifyBalances :many
WITH entry AS (
    SELECT p.from_id AS account_id, p.from_no AS no, -p.amount AS amount FROM posting p
    UNION ALL
    SELECT p.to_id, p.to_no, p.amount FROM posting p
), total AS (
    SELECT account_id, SUM(amount) AS balance, COUNT(*) AS many, MIN(no) AS first_no, MAX(no) AS last_no, COUNT(DISTINCT no) AS numbers
    FROM entry GROUP BY account_id
)
SELECT a.id, a.app_id, a.kind, a.seller_id, a.currency, a.balance, CAST(COALESCE(t.balance, 0) AS bigint) AS posted, a.last_no,
    CAST(COALESCE(t.many, 0) AS bigint) AS postings
FROM account a LEFT JOIN total t ON t.account_id = a.id
WHERE a.balance <> COALESCE(t.balance, 0) OR a.last_no <> COALESCE(t.many, 0) OR a.last_no <> COALESCE(t.last_no, 0)
    OR COALESCE(t.first_no, 1) <> 1 OR COALESCE(t.numbers, 0) <> COALESCE(t.many, 0);

-- name: VerifyRunning :many
WITH entry AS (
    SELECT p.id, p.from_id AS account_id, p.from_no AS no, -p.amount AS amount, p.from_balance AS balance, p.from_before_id AS before_id, p.at FROM posting p
    UNION ALL
    SELECT p.id, p.to_id, p.to_no, p.amount, p.to_balance, p.to_before_id, p.at FROM posting p
), run AS (
    SELECT id, account_id, no, balance, at, before_id, SUM(amount) OVER (PARTITION BY account_id ORDER BY no) AS counted,
        LAG(at) OVER (PARTITION BY account_id ORDER BY no) AS before_at, LAG(id) OVER (PARTITION BY account_id ORDER BY no) AS is_before
    FROM entry
)
SELECT id, account_id, no, balance, CAST(counted AS bigint) AS counted, before_id, CAST(COALESCE(is_before, 0) AS bigint) AS is_before
FROM run WHERE balance <> counted OR at < before_at OR before_id <> COALESCE(is_before, 0);

-- name: VerifyLast :many
SELECT a.id, a.app_id, a.kind, a.seller_id, a.currency, a.last_no, a.last_posting_id FROM account a LEFT JOIN posting p ON p.id = a.last_posting_id
WHERE a.last_no <> COALESCE(CASE WHEN p.from_id = a.id THEN p.from_no WHEN p.to_id = a.id THEN p.to_no END, 0) OR (a.last_no = 0 AND a.last_posting_id <> 0);

-- name: VerifyPostings :many
SELECT p.id, p.purpose, p.amount FROM posting p
LEFT JOIN account a ON a.id = p.from_id
LEFT JOIN account b ON b.id = p.to_id
WHERE a.id IS NULL OR b.id IS NULL OR p.amount <= 0 OR a.id = b.id OR a.currency <> b.currency OR a.app_id <> b.app_id
    OR (a.kind IN ('external', 'platform', 'seller', 'fees')) <> (b.kind IN ('external', 'platform', 'seller', 'fees'));

-- name: VerifyFloors :many
SELECT id, app_id, kind, seller_id, currency, balance, held FROM account
WHERE held < 0 OR (kind NOT IN ('external', 'evidence') AND balance < 0)
    OR (kind IN ('platform', 'seller', 'fees') AND balance - held < 0);

-- name: VerifyHolds :many
WITH held AS (
    SELECT app_id, 'platform' AS kind, '' AS seller_id, currency, SUM(amount) AS amount FROM share WHERE state = 'HELD' GROUP BY app_id, currency
    UNION ALL
    SELECT app_id, 'used', seller_id, currency, SUM(amount) FROM share WHERE state = 'HELD' GROUP BY app_id, seller_id, currency
)
SELECT a.id, a.app_id, a.kind, a.seller_id, a.currency, a.held, CAST(COALESCE(h.amount, 0) AS bigint) AS shares
FROM account a LEFT JOIN held h ON h.app_id = a.app_id AND h.kind = a.kind AND h.seller_id = a.seller_id AND h.currency = a.currency
WHERE a.held <> COALESCE(h.amount, 0);

-- name: VerifyShares :many
WITH moved AS (
    SELECT p.record_id, COUNT(*) AS postings,
        SUM(CASE WHEN a.kind = 'platform' AND b.kind = 'seller' AND p.amount = s.amount AND a.app_id = s.app_id
            AND b.seller_id = s.seller_id AND a.currency = s.currency THEN 1 ELSE 0 END) AS paid,
        SUM(CASE WHEN a.kind = 'evidence' AND b.kind = 'used' AND p.amount = s.amount AND a.app_id = s.app_id
            AND b.seller_id = s.seller_id AND a.currency = s.currency THEN 1 ELSE 0 END) AS used
    FROM posting p JOIN account a ON a.id = p.from_id JOIN account b ON b.id = p.to_id JOIN share s ON s.id = p.record_id
    WHERE p.purpose = 'share' GROUP BY p.record_id
), waiting AS (
    SELECT record_id, COUNT(*) AS tasks FROM task WHERE queue = 'settle' GROUP BY record_id
)
SELECT s.id, s.app_id, s.request_no, s.state, CAST(COALESCE(m.postings, 0) AS bigint) AS postings, CAST(COALESCE(w.tasks, 0) AS bigint) AS tasks
FROM share s LEFT JOIN moved m ON m.record_id = s.id LEFT JOIN waiting w ON w.record_id = s.id
WHERE s.amount <= 0 OR s.committed > s.allowed
    OR NOT ((s.state = 'SETTLED' AND COALESCE(m.paid, 0) = 1 AND COALESCE(m.used, 0) = 1 AND m.postings = 2 AND COALESCE(w.tasks, 0) = 0)
        OR (s.state = 'HELD' AND COALESCE(m.postings, 0) = 0 AND COALESCE(w.tasks, 0) = 1)
        OR (s.state = 'RELEASED' AND COALESCE(m.postings, 0) = 0 AND COALESCE(w.tasks, 0) = 0));

-- name: VerifySharesPosted :many
SELECT p.id, p.record_id FROM posting p LEFT JOIN share s ON s.id = p.record_id WHERE p.purpose = 'share' AND s.id IS NULL;

-- name: VerifyRequests :many
SELECT s.id, s.app_id, s.request_no, COUNT(r.id) AS requests FROM share s
LEFT JOIN request r ON r.app_id = s.app_id AND r.request_no = s.request_no AND r.operation = 'revenue-sharing/request' AND r.record_id = s.id AND r.code = ''
GROUP BY s.id, s.app_id, s.request_no HAVING COUNT(r.id) <> 1;

-- name: VerifyRequestsTwice :many
SELECT app_id, operation, request_no, COUNT(*) AS many FROM request GROUP BY app_id, operation, request_no HAVING COUNT(*) > 1;

-- Returns are taken off an item's shipped sales first, then off its unshipped ones. Of rows with one identity the one booked
-- last counts.
-- name: VerifyFiled :many
WITH booked AS (
    SELECT f.app_id, p.seller_id, p.currency, r.item_key, r.amount, r.shipped,
        ROW_NUMBER() OVER (PARTITION BY r.app, r.item_key, r.at, r.returned ORDER BY f.booked_no DESC) AS newer
    FROM trade_row r JOIN trade_file f ON f.run_id = r.run_id JOIN trade_part p ON p.file_id = f.id AND p.no = r.part
    WHERE f.state IN ('SUCCESS', 'PARTIAL')
), item AS (
    SELECT app_id, seller_id, currency, item_key,
        SUM(CASE WHEN amount > 0 AND shipped = 1 THEN amount ELSE 0 END) AS shipped,
        SUM(CASE WHEN amount > 0 AND shipped = 0 THEN amount ELSE 0 END) AS unshipped,
        SUM(CASE WHEN amount < 0 THEN -amount ELSE 0 END) AS returned
    FROM booked WHERE newer = 1
    GROUP BY app_id, seller_id, currency, item_key
), both_sides AS (
    SELECT app_id, seller_id, currency,
        CASE WHEN shipped >= returned THEN shipped - returned ELSE 0 END AS filed_shipped,
        CASE WHEN shipped >= returned THEN unshipped ELSE unshipped + shipped - returned END AS filed_unshipped,
        0 AS booked_shipped, 0 AS booked_unshipped FROM item
    UNION ALL
    SELECT app_id, seller_id, currency, 0, 0, CASE WHEN kind = 'filed-shipped' THEN balance ELSE 0 END,
        CASE WHEN kind = 'filed-unshipped' THEN balance ELSE 0 END
    FROM account WHERE kind IN ('filed-shipped', 'filed-unshipped')
)
SELECT app_id, seller_id, currency, CAST(SUM(filed_shipped) AS bigint) AS filed_shipped, CAST(SUM(filed_unshipped) AS bigint) AS filed_unshipped,
    CAST(SUM(booked_shipped) AS bigint) AS booked_shipped, CAST(SUM(booked_unshipped) AS bigint) AS booked_unshipped FROM both_sides
GROUP BY app_id, seller_id, currency
HAVING SUM(filed_shipped) <> SUM(booked_shipped) OR SUM(filed_unshipped) <> SUM(booked_unshipped);

-- name: VerifyCounts :one
SELECT (SELECT COUNT(*) FROM account) AS accounts, (SELECT COUNT(*) FROM posting) AS postings, (SELECT COUNT(*) FROM share) AS shares,
    (SELECT COUNT(*) FROM request) AS requests, (SELECT COUNT(*) FROM (SELECT DISTINCT r.app, r.item_key, r.at, r.returned FROM trade_row r JOIN trade_file f ON f.run_id = r.run_id) AS filed) AS rows_filed;

-- name: VerifyDeposits :many
WITH moved AS (
    SELECT p.record_id, SUM(CASE WHEN p.purpose = 'deposit' AND a.kind = 'external' AND b.kind = 'platform' THEN p.amount ELSE 0 END) AS booked,
        SUM(CASE WHEN p.purpose = 'deposit-reversal' AND a.kind = 'platform' AND b.kind = 'external' THEN p.amount ELSE 0 END) AS reversed
    FROM posting p JOIN account a ON a.id = p.from_id JOIN account b ON b.id = p.to_id
    WHERE p.purpose IN ('deposit', 'deposit-reversal') GROUP BY p.record_id
)
SELECT d.id, d.app_id, d.amount, CAST(COALESCE(m.booked, 0) AS bigint) AS booked, CAST(COALESCE(m.reversed, 0) AS bigint) AS reversed
FROM deposit d LEFT JOIN moved m ON m.record_id = d.id
WHERE COALESCE(m.booked, 0) <> d.amount OR COALESCE(m.reversed, 0) <> CASE WHEN d.reversed_at > 0 THEN d.amount ELSE 0 END;

-- What a file says that it has accepted is what its parts say; rows that the file or an earlier one has already are not there again.
-- name: VerifyParts :many
SELECT f.id, f.app_id, f.request_no, f.accepted_rows, CAST(COALESCE(SUM(p.accepted_rows), 0) AS bigint) AS of_parts
FROM trade_file f LEFT JOIN trade_part p ON p.file_id = f.id WHERE f.state <> 'PROCESSING'
GROUP BY f.id, f.app_id, f.request_no, f.accepted_rows HAVING f.accepted_rows <> COALESCE(SUM(p.accepted_rows), 0);
