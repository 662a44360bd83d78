"""What a page that shows a message says itself."""

from __future__ import annotations

from collections.abc import Mapping

from broker.words.said import Said

PAGE: Mapping[str, Said] = {
    "state": Said("State at the hub", "Estado en el concentrador"),
    "everybody": Said("everybody whom its marking allows", "todos a quienes su marca lo permite"),
    "but": Said("but not", "excepto"),
    "group": Said("group", "grupo"),
    "holders": Said("whoever holds what it withdraws", "quienes tienen lo que retira"),
    "exercise": Said("*** EXERCISE, NOT REAL ***", "*** EJERCICIO, NO ES REAL ***"),
    "test": Said("*** TEST, NOT REAL ***", "*** PRUEBA, NO ES REAL ***"),
    "yes": Said("yes", "sí"),
    "no": Said("no", "no"),
    "confirmed": Said("confirmed", "confirmado"),
    "unconfirmed": Said("not confirmed", "sin confirmar"),
    "estimate": Said("estimated", "estimado"),
    "until": Said("until", "hasta"),
    "since": Said("from", "desde"),
    "derived": Said("derived", "derivado"),
    "approximate": Said("approximate", "aproximado"),
    "accepted": Said("Accepted by the hub", "Aceptado por el concentrador"),
    "warnings": Said("Warnings", "Advertencias"),
    "also": Said("Also named in", "También figura en"),
    "perhaps": Said("Perhaps the same event", "Quizá el mismo hecho"),
    "hours": Said("hours apart", "horas de diferencia"),
    "identifier": Said("Identifier", "Identificador"),
    "message": Said("Message", "Mensaje"),
    "completeness": Said("Completeness", "Integridad"),
    "of_100": Said(
        "of 100; seen by you and your liaison office alone", "de 100; solo lo ven usted y su oficina de enlace"
    ),
    "editions": Said(
        "Lists and tables, as read", "Listas y tablas usadas", "Listes et tables utilisées", "Listas e tabelas usadas"
    ),
    "header": Said("Header", "Cabecera", "En-tête", "Cabeçalho"),
    "body": Said("Body", "Cuerpo", "Corps", "Corpo"),
    "report": Said("Report", "Contenido"),
    "more": Said("More", "Más"),
    "no_title": Said("Message", "Mensaje"),
    "nominal": Said(
        "Personal data: names persons or companies. Pass it on only as its marking and legal basis allow.",
        "Datos personales: nombra personas o empresas. Transmítalo solo como lo permitan su marca y su base legal.",
    ),
    "unverified": Said(
        "Printed from a message for reading. The signature is checked with `tidewaiter verify`, not on this page.",
        "Impreso de un mensaje para leerlo. La firma se comprueba con `tidewaiter verify`, no en esta página.",
    ),
}

STATES: Mapping[str, Said] = {
    "current": Said("current", "vigente"),
    "superseded": Said("superseded", "reemplazado"),
    "withdrawn": Said("withdrawn", "retirado"),
    "expired": Said("expired", "vencido"),
}
"""How a message stands at the hub."""
