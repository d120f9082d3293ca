-- name: migrations()
-- The migrations that made this schema. Functions and grants are not counted: they hold no data.
SELECT name, sha256 FROM schema_step WHERE name ~ '^[0-9]' ORDER BY name;

-- name: tables()
-- Every table that holds the fleet's data, with the columns that are stored, in their order.
SELECT relation.relname AS name, array_agg(quote_ident(attname) ORDER BY attnum) AS columns
FROM pg_class AS relation
JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
WHERE relation.relkind = 'r' AND relation.relnamespace = 'public'::regnamespace AND relation.relname <> 'schema_step'
GROUP BY relation.relname
ORDER BY relation.relname;

-- name: references()
-- Which table names rows of which other one.
SELECT conrelid::regclass::text AS from_table, confrelid::regclass::text AS to_table
FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid;

-- name: sequences()
-- How far each table's numbers are given out, also those of rows that are gone.
SELECT sequencename AS name, last_value
FROM pg_sequences
WHERE schemaname = 'public' AND last_value IS NOT NULL
ORDER BY sequencename;

-- name: waiting()^
-- Wheels and logs that builders hold and the index doesn't, of quarantined builders too: they would be lost.
SELECT (SELECT count(*) FROM wheel JOIN build USING (build_id)
        WHERE published_at IS NULL AND refused_reason IS NULL AND lost_at IS NULL AND build.state = 'built') AS wheels,
       (SELECT count(*) FROM attempt WHERE log_size IS NOT NULL AND log_stored_at IS NULL) AS logs;

-- name: hold_still()!
-- Nobody makes a build while we look whether there are any, and replace everything.
LOCK TABLE build IN ACCESS EXCLUSIVE MODE;

-- name: has_builds()$
-- Whether this database is the memory of a fleet already.
SELECT EXISTS (SELECT FROM build) OR EXISTS (SELECT FROM attempt);

-- name: moved_here()$
-- Which copy this database was filled from, if it was.
SELECT obj_description('schema_step'::regclass, 'pg_class');

-- name: say_moved_here(copy)$
-- Note the copy, with the same transaction. A comment cannot be a query's parameter.
SELECT 'COMMENT ON TABLE schema_step IS ' || quote_literal(:copy::text);

-- name: emptying()$
-- The statement that empties all tables at once.
SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ')
FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'schema_step';

-- name: triggers(word)
-- The statements that switch the tables' own triggers on or off: a copied row has been through them.
SELECT DISTINCT 'ALTER TABLE ' || tgrelid::regclass::text || ' ' || :word::text || ' TRIGGER USER'
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace;

-- name: go_on_counting(sequence, value)$
-- The next number is one more than the last that was given out where the rows come from.
SELECT setval(quote_ident(:sequence)::regclass, :value);

-- name: give_back_leases(why)!
-- What was leased to builders that did not come along is handed out anew.
WITH given_back AS (
    UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL WHERE lease_id IS NOT NULL RETURNING build_id
)
UPDATE build SET state = 'pending', reason = :why FROM given_back WHERE given_back.build_id = build.build_id;

-- name: retire_builders(why)!
-- Login roles did not come along. A builder that is provisioned here is registered again, and active; but moving lifts no quarantine.
UPDATE builder SET standing = 'retired', standing_reason = :why WHERE standing NOT IN ('retired', 'quarantined');
