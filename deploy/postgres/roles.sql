-- The roles of one hub in PostgreSQL (15 or later), each with what it needs and nothing else.
-- Run by a superuser, connected to the hub's own database, once and again whenever this file changes; it can be
-- repeated. It sets no password: `passwords.sh` does, from files. After it: `tidewaiter init` as the owner, grants.sql.
--
--   tidewaiter_owner      owns schema and tables: `tidewaiter init` and `migrate`, grants.sql. Used for minutes a year.
--   tidewaiter_hub        every `tidewaiter serve`. No DDL, no DELETE or UPDATE of what is never changed: it can neither
--                         rewrite nor drop a message, a receipt, an acknowledgement; it can enrol no key and no member.
--   tidewaiter_registrar  the operator's commands on the hub's machine: member, group, subscription, key, operator.
--   tidewaiter_backup     pg_dump: reads everything, changes nothing.
--   tidewaiter_monitor    counts and ages for a dashboard: no content, no address, no key.
\set ON_ERROR_STOP on

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name)
  FROM unnest(ARRAY['tidewaiter_owner', 'tidewaiter_hub', 'tidewaiter_registrar', 'tidewaiter_backup',
                    'tidewaiter_monitor']) AS name
 WHERE name NOT IN (SELECT rolname FROM pg_roles)
\gexec

-- Nobody gets in who is not named here.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO tidewaiter_owner, tidewaiter_hub, tidewaiter_registrar, '
              'tidewaiter_backup, tidewaiter_monitor', current_database()) \gexec

REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO tidewaiter_owner;
GRANT USAGE ON SCHEMA public TO tidewaiter_hub, tidewaiter_registrar, tidewaiter_backup, tidewaiter_monitor;

-- Reads every table, also those that a later migration brings.
GRANT pg_read_all_data TO tidewaiter_backup;
-- Sees how the server is: sizes, waits, locks, replication. Statements of the hub carry parameters, not content.
GRANT pg_monitor TO tidewaiter_monitor;

-- A receipt promises that its message is on disk: whatever the server's default says. (A server that waits for a standby
-- keeps waiting: `on` is the strongest setting without `remote_apply`.)
ALTER ROLE tidewaiter_hub SET synchronous_commit = on;
ALTER ROLE tidewaiter_registrar SET synchronous_commit = on;
-- A process that hangs inside a transaction holds the head lock, and with it everybody's posts. The hub gives a
-- statement 60 s; a healthy transaction takes milliseconds.
ALTER ROLE tidewaiter_hub SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE tidewaiter_registrar SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE tidewaiter_backup SET default_transaction_read_only = on;
ALTER ROLE tidewaiter_monitor SET default_transaction_read_only = on;
ALTER ROLE tidewaiter_monitor SET statement_timeout = '30s';
ALTER ROLE tidewaiter_monitor CONNECTION LIMIT 5;
