-- name: believed_builder(serial)$
-- Which builder this client certificate is pinned for, as long as it is believed; null: none.
SELECT name FROM builder WHERE certificate_serial = :serial::numeric AND standing IN ('active', 'paused');
