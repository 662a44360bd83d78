"""What the pages of the reference say themselves, in English and Spanish."""

from __future__ import annotations

from collections.abc import Mapping

from broker.words.said import Said

SAY: Mapping[str, Said] = {
    "reference": Said("The language of messages", "El lenguaje de los mensajes"),
    "back": Said("All kinds", "Todas las clases"),
    "intro": Said(
        "What a valid message looks like: every kind, field, rule, identifier and code. These pages are written from"
        " `schemas/`, so they are never behind it; the same is served by the hub (`GET /v1/schemas`, `GET /v1/codelists`)"
        " and shown by `tidewaiter schema show KIND` and `tidewaiter schema codes LIST`. En español: [es/](es/README.md).",
        "Cómo es un mensaje válido: cada clase, campo, regla, identificador y código. Estas páginas se escriben a partir de"
        " `schemas/`, así que nunca se quedan atrás; lo mismo lo sirve el concentrador (`GET /v1/schemas`,"
        " `GET /v1/codelists`) y lo muestran `tidewaiter schema show CLASE` y `tidewaiter schema codes LISTA`."
        " In English: [here](../README.md).",
    ),
    "how": Said("To write a message", "Para escribir un mensaje"),
    "step-1": Said(
        "1. Start from an example: `tidewaiter schema example seizure --heading tobacco > report.json`.",
        "1. Parta de un ejemplo: `tidewaiter schema example seizure --heading tobacco > informe.json`.",
    ),
    "step-2": Said(
        "2. Put your own values into the [header](header.md): `id`, `originator`, `event_at`, the marking, to whom.",
        "2. Ponga sus valores en la [cabecera](header.md): `id`, `originator`, `event_at`, la marca, a quién.",
    ),
    "step-3": Said(
        "3. Fill in the body after the page of its kind. What you do not know is left out, or named in `not_given`.",
        "3. Complete el cuerpo según la página de su clase. Lo que no sabe se omite, o se nombra en `not_given`.",
    ),
    "step-4": Said(
        "4. `tidewaiter check report.json` names each fault with its field and the way out.",
        "4. `tidewaiter check informe.json` nombra cada error con su campo y la salida.",
    ),
    "step-5": Said(
        "5. `tidewaiter sign`, `tidewaiter submit`: see [connecting](../connecting.md).",
        "5. `tidewaiter sign`, `tidewaiter submit`: véase [conexión](../../es/conexion.md).",
    ),
    "kinds": Said("Kinds of message", "Clases de mensaje"),
    "all-kinds": Said("For all kinds", "Para todas las clases"),
    "kind": Said("kind", "clase"),
    "name": Said("`kind` in the header", "`kind` en la cabecera"),
    "version": Said("version", "versión"),
    "about": Said("what it is for", "para qué sirve"),
    "has-example": Said("example", "ejemplo"),
    "yes": Said("yes", "sí"),
    "header": Said("The header", "La cabecera"),
    "about-header": Said("who, when, how urgent, to whom.", "quién, cuándo, con qué urgencia, a quién."),
    "header-note": Said(
        "A payload is an object with exactly `header` and `body`. Optional members may be absent or, where the rule says so,"
        " `null`.",
        "Una carga es un objeto que tiene exactamente `header` y `body`. Los miembros opcionales pueden faltar o, donde la"
        " regla lo dice, ser `null`.",
    ),
    "parts": Said("Shared parts", "Partes comunes"),
    "about-parts": Said("objects that several kinds have in them.", "objetos que aparecen en varias clases."),
    "standing": Said("Identifiers and their standing", "Los identificadores y su situación"),
    "standing-note": Said(
        'An identifier that may be forged is an object, `{"value": "CSQU3054383", "as": "verified"}`. `as` says how it'
        " stands: `found` (as it was found, which is meant if `as` is left out), `verified`, or `believed-false`. A wrong"
        " check digit is an error, but believed false only a warning: the forged number is itself the intelligence.",
        'Un identificador que puede estar falsificado es un objeto, `{"value": "CSQU3054383", "as": "verified"}`. `as` dice'
        " su situación: `found` (tal como se halló, que es lo que se entiende si falta `as`), `verified` o"
        " `believed-false`. Un dígito verificador erróneo es un error, pero si se tiene por falso solo un aviso: el número"
        " falsificado es en sí la información.",
    ),
    "identifiers": Said("Identifiers", "Identificadores"),
    "about-identifiers": Said(
        "Numbers that have a form, and often a check digit.",
        "Números que tienen una forma y a menudo un dígito verificador.",
    ),
    "identifiers-note": Said(
        "Case and separators of identifiers are free (`csqu 305438-3`); codes, countries and UN/LOCODEs are compared as they"
        " stand. A form that no such identifier can have is always an error. What is kept for search is found with"
        " `GET /v1/messages?identifier=`. What names a person stands in the nominal part alone.",
        "Las mayúsculas y los separadores de los identificadores son libres (`csqu 305438-3`); códigos, países y UN/LOCODE se"
        " comparan tal como están. Una forma que ningún identificador así puede tener es siempre un error. Lo que se guarda"
        " para la búsqueda se encuentra con `GET /v1/messages?identifier=`. Lo que nombra a una persona está solo en la"
        " parte nominal.",
    ),
    "codelists": Said("Code lists", "Listas de códigos"),
    "about-codelists": Said(
        "the codes that fields take, with titles in four languages.",
        "los códigos que admiten los campos, con títulos en cuatro idiomas.",
    ),
    "codelists-note": Said(
        "A code is compared as it stands. An alias does not pass; the answer names the code that is meant. Under the policy"
        " `error` a code that is not in the list is refused, under `warning` it is kept with a warning: such a list is a"
        " sample. Each page names the list's source.",
        "Un código se compara tal como está. Un alias no pasa; la respuesta nombra el código que se quiso decir. Con la"
        " política `error` se rechaza un código que no está en la lista, con `aviso` se guarda con un aviso: esa lista es"
        " una muestra. Cada página nombra la fuente de la lista.",
    ),
    "rules": Said("Rules", "Reglas"),
    "about-rules": Said(
        "what is looked at, whether it refuses, and what the answer says.",
        "qué se mira, si rechaza, y qué dice la respuesta.",
    ),
    "rules-note": Said(
        "An error refuses the message; a warning is kept with it and shown to both sides. What stands in ‹angle quotes› is"
        " filled in. First the header, then the schema of the kind, then all the rest together.",
        "Un error rechaza el mensaje; un aviso se guarda con él y lo ven ambas partes. Lo que está entre ‹comillas angulares›"
        " se completa. Primero la cabecera, luego el esquema de la clase, después todo lo demás junto.",
    ),
    "between": Said("Between fields", "Entre campos"),
    "each": Said("In a field", "En un campo"),
    "rule": Said("rule", "regla"),
    "severity": Said("if broken", "si se incumple"),
    "sentence": Said("what the answer says", "qué dice la respuesta"),
    "error": Said("error", "error"),
    "warning": Said("warning", "aviso"),
    "by-unknown-code": Said("as the list's policy", "según la política de la lista"),
    "by-check-digit": Said("as the [identifier](identifiers.md)", "según el [identificador](identifiers.md)"),
    "scored": Said(
        "Messages of this kind get a completeness score, which refuses nothing: see what counts below.",
        "Los mensajes de esta clase reciben un puntaje de integridad, que no rechaza nada: abajo se ve qué cuenta.",
    ),
    "requires": Said("The header needs, besides: {0}.", "La cabecera exige además: {0}."),
    "originator": Said("Only {0} sends it.", "Solo {0} la envía."),
    "withdrawal": Said(
        "The header has the `kind` and `version` of what is withdrawn, its address in `withdraws`, and `release: null`.",
        "La cabecera lleva `kind` y `version` de lo que se retira, su dirección en `withdraws`, y `release: null`.",
    ),
    "fields": Said("Fields", "Campos"),
    "legend": Said(
        "What is **bold** is needed in its object; `[]` stands for each entry of a list.",
        "Lo que está en **negrita** es obligatorio en su objeto; `[]` representa cada elemento de una lista.",
    ),
    "field": Said("field", "campo"),
    "meaning": Said("meaning", "significado"),
    "example": Said("example", "ejemplo"),
    "conditions": Said("Under a condition:", "Según el caso:"),
    "uses": Said("Shared parts in it:", "Partes comunes que contiene:"),
    "an-example": Said("An example", "Un ejemplo"),
    "example-note": Said(
        "{0} of `schemas/examples`, which can be signed as it stands.",
        "{0} de `schemas/examples`, que puede firmarse tal como está.",
    ),
    "others": Said("Others: {0}.", "Otros: {0}."),
    "format": Said("format", "formato"),
    "checked": Said("what is checked", "qué se comprueba"),
    "wrong-digit": Said("wrong check digit", "dígito verificador erróneo"),
    "search": Said("for search", "para búsqueda"),
    "personal": Said("personal", "personal"),
    "list": Said("list", "lista"),
    "number": Said("codes", "códigos"),
    "policy": Said("an unknown code is", "un código desconocido es"),
    "edition": Said("edition", "edición"),
    "date": Said("date", "fecha"),
}
