"""What is said about a cell, in English and Spanish: what stands there, and what was expected.

What the hub refuses is told by the hub, in the reader's language; these are the sentences for what never gets there.
The gaps are those of `broker.phrases`.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker import phrases

SENTENCES: Mapping[str, tuple[str, str]] = {
    "not-a-number": (
        "“{found}” is not a number as this table writes them: {allowed}.",
        "“{found}” no es un número como los escribe esta tabla: {allowed}.",
    ),
    "not-whole": ("“{found}” is not a whole number.", "“{found}” no es un número entero."),
    "not-a-date": (
        "“{found}” is not a date. Forms known here: {allowed}.",
        "“{found}” no es una fecha. Formas conocidas aquí: {allowed}.",
    ),
    "not-in-table": (
        "“{found}” is not known here.[ Known or meant: {allowed}.]",
        "“{found}” no se conoce aquí.[ Conocidos o parecidos: {allowed}.]",
    ),
    "not-the-form": (
        "“{found}” does not have the form {allowed}.",
        "“{found}” no tiene la forma {allowed}.",
    ),
    "too-long-to-read": (
        "{found} characters; this mapping reads at most {allowed} here.",
        "{found} caracteres; esta correspondencia lee como máximo {allowed} aquí.",
    ),
    "row-not-taken": (
        "Rows are taken only if {allowed}; this one has “{found}”.",
        "Solo se toman filas si {allowed}; esta tiene “{found}”.",
    ),
    "id-needed": (
        "The id of the message is made of this cell; it must not be blank.",
        "El id del mensaje se forma con esta celda; no puede estar vacía.",
    ),
    "id-too-long": (
        "The id would be “{found}”; at most {allowed} characters are allowed.",
        "El id sería “{found}”; se permiten como máximo {allowed} caracteres.",
    ),
    "cell-needed": ("A value is needed here.", "Aquí hace falta un valor."),
    "not-fed": (
        "{pointer}: {detail} No column of the mapping gives it.",
        "{pointer}: {detail} Ninguna columna de la correspondencia lo da.",
    ),
    "by-mapping": (
        "{pointer}: {detail} The mapping itself sets it.",
        "{pointer}: {detail} Lo fija la propia correspondencia.",
    ),
    "cells": (
        "The row has {found} cells, and there are only {allowed} headings.",
        "La fila tiene {found} celdas y solo hay {allowed} encabezados.",
    ),
    "unreadable": ("This row cannot be read: {found}.", "Esta fila no se puede leer: {found}."),
    "cell-form": (
        "The spreadsheet says that this is a number, a date or another kind of value, and “{found}” is not one.",
        "La hoja dice que esto es un número, una fecha u otra clase de valor, y “{found}” no lo es.",
    ),
    "encoding": (
        "This is not text in {allowed}.",
        "Esto no es texto en {allowed}.",
    ),
    "still-blank": (
        "The row is still blank: write here what it should hold, or delete this line.",
        "La fila sigue vacía: escriba aquí lo que debe contener, o elimine esta línea.",
    ),
    "cut-in-sheet": (
        "A cell here holds at most {allowed} characters, and this one is cut: correct the table itself.",
        "Aquí una celda admite como máximo {allowed} caracteres y esta está cortada: corrija la tabla misma.",
    ),
    "another-row": (
        "This row is not one of the table's: its number in the first column was changed.",
        "Esta fila no es de la tabla: se cambió su número en la primera columna.",
    ),
    "sheet-row": ("row", "fila"),
    "sheet-column": ("column", "columna"),
    "sheet-value": ("value", "valor"),
    "sheet-expected": ("what was expected", "lo que se esperaba"),
    "sheet-hint": (
        "Correct the cells on the right, save, and run `tidewaiter load` on this very file with the same mapping.",
        "Corrija las celdas de la derecha, guarde y ejecute `tidewaiter load` con este mismo archivo y la misma"
        " correspondencia.",
    ),
}


def say(key: str, language: str, /, **gaps: object) -> str:
    """The sentence in Spanish for `es...`, else in English."""
    english, spanish = SENTENCES[key]
    return phrases.render(spanish if language[:2].lower() == "es" else english, language, **gaps)
