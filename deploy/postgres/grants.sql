-- What each role may do with each table, and when two of them are vacuumed. Run as tidewaiter_owner after every
-- `tidewaiter init` or `migrate`. It can be repeated. The rights are one transaction, so that a hub that serves meanwhile
-- never lacks one.
--
-- The rule: a right is here because a statement in broker/ needs it. An UPDATE names its columns: what stands in none of
-- these lists is written once. A table that a migration adds must be added here (tests/unit/test_postgres_files.py).
\set ON_ERROR_STOP on
BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, tidewaiter_hub, tidewaiter_registrar, tidewaiter_monitor;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, tidewaiter_hub, tidewaiter_registrar, tidewaiter_monitor;

-- ── everybody who decides reads everything: rights are decided from the whole ledger ──
GRANT SELECT ON ALL TABLES IN SCHEMA public TO tidewaiter_hub, tidewaiter_registrar;

-- ── the record: written once ──
GRANT INSERT ON messages, audience, identifiers, deliveries, acknowledgements, refusals TO tidewaiter_hub;
GRANT USAGE ON SEQUENCE refusals_number_seq TO tidewaiter_hub;
-- Of a message only its place in its chain, and the reminder, ever change.
GRANT UPDATE (superseded_by, withdrawn_by, acknowledge_by) ON messages TO tidewaiter_hub;
GRANT UPDATE (fetched_at) ON audience TO tidewaiter_hub;
-- Of a delivery its state: never whose it is, of which message, by which rule.
GRANT UPDATE (state, round, count, attempt, redrives, handed_at, available_at, lease_id, lease_until, changed_at, reason)
   ON deliveries TO tidewaiter_hub, tidewaiter_registrar;

-- ── counters, each under its lock ──
GRANT UPDATE (position) ON head TO tidewaiter_hub;
GRANT UPDATE (version) ON registry TO tidewaiter_hub, tidewaiter_registrar;

-- ── queues and subscriptions: members change their own over HTTPS, operators by command ──
GRANT INSERT ON subscriptions, queues TO tidewaiter_hub, tidewaiter_registrar;
GRANT UPDATE (filter, removed_at) ON subscriptions TO tidewaiter_hub;
GRANT UPDATE (removed_at) ON subscriptions TO tidewaiter_registrar;
GRANT UPDATE (last_sequence, generation, declared, drain, empty_at) ON queues TO tidewaiter_hub;
GRANT UPDATE (drain) ON queues TO tidewaiter_registrar;

-- ── the registry: by the operator's commands alone ──
GRANT INSERT ON members, keys, groups, group_members TO tidewaiter_registrar;
GRANT UPDATE (active, changed_at) ON members TO tidewaiter_registrar;
GRANT UPDATE (not_after, revoked_at, reason) ON keys TO tidewaiter_registrar;
GRANT DELETE ON group_members TO tidewaiter_registrar;
GRANT UPDATE (ended) ON groups TO tidewaiter_hub;
-- Acknowledgements of one member go one at a time: the hub locks its row, and to lock takes UPDATE on some column.
GRANT UPDATE (changed_at) ON members TO tidewaiter_hub;

-- ── orders that are done with, assertions that have expired ──
GRANT INSERT, DELETE ON closings TO tidewaiter_hub, tidewaiter_registrar;
GRANT USAGE ON SEQUENCE closings_number_seq TO tidewaiter_hub, tidewaiter_registrar;
GRANT UPDATE (acted_at) ON closings TO tidewaiter_hub;
GRANT INSERT, DELETE ON used_assertions TO tidewaiter_hub;

-- ── which relay holds which queue ──
GRANT INSERT, DELETE ON relays, holdings TO tidewaiter_hub;
GRANT UPDATE (until) ON relays TO tidewaiter_hub;
GRANT UPDATE (relay, parked) ON holdings TO tidewaiter_hub;
GRANT USAGE ON SEQUENCE relays_number_seq TO tidewaiter_hub;

-- ── numbers for a dashboard ──
GRANT SELECT (queue, sequence, state, round, count, redrives, changed_at, lease_until) ON deliveries TO tidewaiter_monitor;
GRANT SELECT (position, kind, status, accepted_at, expires_at) ON messages TO tidewaiter_monitor;
GRANT SELECT (id, last_sequence, generation, declared, drain, empty_at) ON queues TO tidewaiter_monitor;
GRANT SELECT (id, delivery, created_at, removed_at) ON subscriptions TO tidewaiter_monitor;
GRANT SELECT ON head, registry, alembic_version TO tidewaiter_monitor;

COMMIT;

-- ── vacuum by what has happened, not by a share of a table that grows for years ──
-- Every delivery leaves two or three dead rows, and dead entries in the index by which it was found ready: 107 blocks for
-- each 10,000 of a queue, through which every lease goes (docs/growth.md, "Vacuum"). Once: whatever somebody has set for a
-- table stays, and a vacuum that runs for hours is not waited for again.
SELECT format('ALTER TABLE %I.%I SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000)',
              schemaname, tablename)
  FROM pg_tables JOIN pg_class ON oid = format('%I.%I', schemaname, tablename)::regclass
 WHERE schemaname = 'public' AND tablename IN ('deliveries', 'messages')
   AND NOT coalesce(array_to_string(reloptions, ' ') LIKE '%autovacuum_vacuum_%', false)
\gexec
