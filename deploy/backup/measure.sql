-- What a ledger holds, one line a figure: how many rows each table has, and a sum over SHA-256 of every row, which is the
-- same whatever their order. Read by backup.sh, and again by restore.sh and rehearse.sh, which compare.
\set ON_ERROR_STOP on
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET bytea_output = 'hex';
SET IntervalStyle = 'iso_8601';
SELECT 'revision ' || version_num FROM alembic_version;
SELECT 'position ' || position FROM head;
SELECT 'registry ' || version FROM registry;
SELECT 'hub_key ' || kid FROM keys WHERE owner = 'HUB' AND revoked_at IS NULL ORDER BY not_before, kid;
SELECT format($$SELECT 'table %1$s ' || count(*) || ' ' ||
                coalesce(sum(('x' || substr(encode(sha256(convert_to(t::text, 'UTF8')), 'hex'), 1, 15))::bit(60)::bigint), 0)
                FROM %1$I t$$, relname)
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
\gexec
