"""Rules between fields: named functions in two tables, each with its severity.

SHAPE concerns the header alone and runs with the envelope's schema. RULES run once a body has passed its schema,
together with identifiers and code lists. A rule finds fields by annotation (routes, formats, roles), never by kind or
name, so that a new kind needs none.

Not here: what depends on other messages, members or groups (`submit`, `entitlement`).
"""

from broker.language.rules import body, handling, header
from broker.language.rules.report import Report, Rule, ShapeRule, moment

__all__ = ["RULES", "SHAPE", "Report", "Rule", "ShapeRule", "moment"]

SHAPE: tuple[ShapeRule, ...] = (
    ShapeRule("supersedes-and-withdraws", header.supersedes_or_withdraws),
    ShapeRule("release-missing", header.release_needed),
    ShapeRule("release-of-withdrawal", header.release_unwanted),
    ShapeRule("refers-to-itself", header.to_itself),
)

RULES: tuple[Rule, ...] = (
    Rule("event-in-future", "error", header.event_in_future),
    Rule("expires-before-event", "error", header.expires_before_event),
    Rule("already-expired", "warning", header.already_expired),
    Rule("acknowledge-after-expiry", "error", header.acknowledge_after_expiry),
    Rule("deadline-passed", "warning", header.deadline_passed),
    Rule("names-itself", "error", header.names_itself),
    Rule("nominal-to-all", "error", handling.nominal_to_all),
    Rule("nominal-without-basis", "error", handling.nominal_without_basis),
    Rule("marking-wider", "error", handling.marking_wider),
    Rule("consent-missing", "error", handling.consent_missing),
    Rule("gap-filled", "error", handling.gap_filled),
    Rule("gap-unknown", "error", handling.gap_unknown),
    Rule("locode-country", "error", body.locode_country),
    Rule("locode-function", "warning", body.locode_function),
    Rule("airport-country", "error", body.airport_country),
    Rule("subdivision-country", "error", body.subdivision_country),
    Rule("until-before-from", "error", body.until_before_from),
    Rule("event-outside-period", "warning", body.event_outside_period),
    Rule("validity-over", "warning", body.validity_over),
    Rule("part-exceeds-whole", "error", body.part_exceeds_whole),
    Rule("route-order", "warning", body.route_order),
    Rule("mode-mismatch", "warning", body.mode_mismatch),
    Rule("unknown-hs", "warning", body.unknown_hs),
    Rule("hs-at-date", "warning", body.hs_at_date),
    Rule("hs-unlike-heading", "warning", body.hs_unlike_heading),
    Rule("block-unlike-heading", "warning", body.block_unlike_heading),
    Rule("block-missing", "warning", body.block_missing),
    Rule("unit-unusual", "warning", body.unit_unusual),
    Rule("quantity-zero", "warning", body.quantity_zero),
    Rule("appendix-at-date", "warning", body.appendix_at_date),
    Rule("country-of-another", "warning", body.country_of_another),
)
"""Errors refuse; warnings are kept with the message and shown to both sides."""
