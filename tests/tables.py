"""A national table of our own making, with the defects that real ones have: seeded rows, and what must become of each.

The table is a Chilean one that never was: Spanish headings, one of them twice, decimals with a comma, local time without
an offset, words for codes in any case, ranges of dates, "Y" for "some", goods declared and goods found in one row.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MAPPING = """\
name: nacional
kind: seizure
version: "1.0"
table:
  delimiter: ";"
  decimal: ","
  thousands: "."
  blank: ["s/d", "N/A"]
  time_zone: America/Santiago
columns:
  fecha: Fecha
  lugar: Lugar
  pais: País
  tipo: Tipo de lugar
  producto: Producto
  peso: Peso (kg)
  unidades: Unidades
  declarado: Declarado como
  transporte: Transporte
  contenedor: Contenedores
  origen: Origen
  origen confirmado: {heading: C/UC, nth: 1}
  via: Vía
  via confirmada: {heading: C/UC, nth: 2}
  ocultamiento: Ocultamiento
  nota: Nota
values:
  paises: {Chile: CL, Perú: PE, China: CN, China - Hong Kong: HK, Bolivia: BO, Noruega: NO}
  confirmado: {C: true, UC: false}
  modos: {Por carretera: road, Por mar: sea, Por aire: air, En equipaje: null}
  productos: {Cigarrillos: "240220", Anguilas: "030192"}
  ocultamientos: {Oculto: in-cargo, Equipaje: baggage, Descrito falsamente: misdescribed}
  lugares: {Puerto: seaport, Camino: road, Aeropuerto: airport}
parts:
  fecha:
    formats: [D/M/YYYY HH:mm, D/M/YYYY, "MMMM YYYY", YYYY, YYYY-YYYY, "D/M/YYYY-D/M/YYYY", "[PARTIDO] YYYY-YYYY"]
    language: es
  lugar:
    pattern: '(?P<ciudad>[^(]+?)(?: *[(](?P<codigo>[A-Z0-9]+)[)])?'
    text: "{ciudad}[ ({codigo})]"
id: {prefix: NAC-, digest: row}
ignore: [{column: lugar, is: TOTAL}]
message:
  - put:
      /header/event_at: {column: fecha.at}
      /header/language: es
      /header/handling/tlp: GREEN
      /header/handling/release/all: true
      /body/form: long
      /body/procedure: import
      /body/heading: tobacco
      /body/precision: {column: fecha.precision}
      /body/place/country: {column: pais, values: paises}
      /body/place/name: {column: lugar.ciudad}
      /body/place/national_code: {text: "CUT {lugar.codigo}"}
      /body/place/type: {column: tipo, values: lugares, codelist: place-types, default: unknown}
      /body/transport/mode: {column: transporte, values: modos, codelist: modes}
      /body/remarks: {column: nota}
  - when: {given: fecha.until}
    put:
      /body/aggregate: true
      /body/period/from: {column: fecha.from}
      /body/period/until: {column: fecha.until}
  - when: {given: declarado}
    put:
      /body/goods/0/side: declared
      /body/goods/0/description: {column: declarado}
  - put:
      /body/goods/1/side: found
      /body/goods/1/description: {column: producto}
      /body/goods/1/hs: {column: producto, values: productos, unknown: skip}
  - when: {column: peso, not: ["", "Y"]}
    put:
      /body/goods/1/quantity/value: {column: peso, as: decimal}
      /body/goods/1/quantity/unit: KGM
  - when: {given: unidades}
    put:
      /body/goods/1/second_quantity/value: {column: unidades, as: decimal, times: 20}
      /body/goods/1/second_quantity/unit: stick
  - each: {column: contenedor, split: [","]}
    put:
      /body/transport/containers/0/value: {column: item}
  - when: {given: origen}
    put:
      /body/route/0/role: origin
      /body/route/0/country: {column: origen, values: paises}
      /body/route/0/confirmed: {column: origen confirmado, values: confirmado, default: false}
  - each: {column: via, split: [",", ";"]}
    put:
      /body/route/1/role: via
      /body/route/1/country: {column: item, values: paises}
      /body/route/1/confirmed: {column: via confirmada, values: confirmado, default: false}
  - put:
      /body/concealment/0: {column: ocultamiento, values: ocultamientos, codelist: concealment, unknown: other}
"""

HEADINGS = ("Fecha", "Lugar", "País", "Tipo de lugar", "Producto", "Peso (kg)", "Unidades", "Declarado como", "Transporte",
            "Contenedores", "Origen", "C/UC", "Vía", "C/UC", "Ocultamiento", "Nota")  # fmt: skip
CONTAINERS = ("CSQU3054383", "MSKU9070323", "MWCU6059784")

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A row, and the rules that it breaks; none: it is accepted. `canonical`: written as the mapping would write it."""

    cells: Cells
    rules: frozenset[str] = frozenset()
    canonical: bool = True


def rows(seed: int, count: int, *, bad: bool = True) -> Iterator[Made]:
    """`count` rows; about one in eight is bad, if asked for. The same seed gives the same rows."""
    chance = random.Random(seed)
    for number in range(count):
        if chance.random() < 0.55:
            yield Made(_good(chance, number))
        elif bad and chance.random() < 0.3:
            yield _bad(chance, number)
        else:
            yield _untidy(chance, number)


def _good(chance: random.Random, number: int) -> Cells:
    """As the mapping itself would write it."""
    day = f"{chance.randint(1, 28)}/{chance.randint(1, 12)}/{chance.randint(2018, 2024)}"
    via = chance.choice(("", "", "Perú", "Perú, Bolivia"))
    declared = chance.choice(("", "", "Baldosas"))
    mode = chance.choice(("Por mar", "Por carretera", ""))
    containers = ", ".join(chance.sample(CONTAINERS, chance.randint(1, 2))) if mode == "Por mar" else ""
    return (
        chance.choice((day, f"{day} {chance.randint(10, 23)}:{chance.randint(10, 59)}", "marzo 2019", "2020")),
        chance.choice(("Iquique", "Arica (15101)", "San Antonio (05601)")), "Chile", chance.choice(("Puerto", "Camino", "")),
        "Cigarrillos", f"{chance.randint(1, 9000)},{chance.randint(1, 9)}", str(chance.randint(1, 500)), declared, mode,
        containers, *chance.choice((("", ""), ("China", "C"), ("China - Hong Kong", "UC"))), via, "UC" if via else "",
        chance.choice(("", "Oculto", "Equipaje")), f"Acta {number}",
    )  # fmt: skip


def _untidy(chance: random.Random, number: int) -> Made:
    """Accepted all the same: spelling, spaces, ranges, "some", thousands, words of a code list."""
    cells = list(_good(chance, number))
    for _ in range(chance.randint(1, 3)):
        column, text = chance.choice((
            (0, "2015-2017"), (0, "29/2/2008-6/3/2008"), (0, "PARTIDO 2018-2019"), (0, " Sept. 2019"), (5, "Y"), (5, "s/d"),
            (5, "1.234,5"), (6, ""), (8, "POR  CARRETERA"), (8, "by road"), (8, " En Equipaje"), (10, "china - hong kong"),
            (11, " uc"), (14, "Detrás de un panel"), (14, "hidden"), (12, "Perú; Bolivia"), (4, "Tabaco de mascar"), (3, "PUERTO"),
        ))  # fmt: skip
        cells[column] = text
    if cells[10] == "":
        cells[11] = ""
    return Made(tuple(cells), canonical=False)


def _bad(chance: random.Random, number: int) -> Made:
    """Each breaks one rule: our own, or one of the schemas."""
    cells = list(_good(chance, number))
    column, text, rule = chance.choice((
        (0, "ayer", "not-a-date"), (0, "31/2/2020", "not-a-date"), (0, "", "required"), (5, "12,3.4", "not-a-number"),
        (5, "1.5", "not-a-number"), (2, "Varios", "not-in-table"), (2, "", "required"), (9, "CSQU3054384", "check-digit"),
        (4, "", "required"), (1, "(15101)", "not-the-form"), (15, "x" * 4100, "too-long"),
    ))  # fmt: skip
    if column == 9:
        cells[8] = "Por mar"
    cells[column] = text
    return Made(tuple(cells), frozenset({rule}))


# ── files ──


def mapping_file(folder: Path, text: str = MAPPING, name: str = "nacional.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def write_csv(path: Path, made: Sequence[Made], headings: Sequence[str] = HEADINGS, encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(headings)
        writer.writerows(one.cells for one in made)
    return path


def write_xlsx(path: Path, made: Sequence[Made], headings: Sequence[str] = HEADINGS) -> Path:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("hoja")
    sheet.append(list(headings))
    for one in made:
        sheet.append([cell or None for cell in one.cells])
    book.save(path)
    return path


def write_json(path: Path, made: Sequence[Made], *, lines: bool = False) -> Path:
    """The heading that occurs twice is called `C/UC` and `C/UC#2` here: an object has no name twice."""
    names = [name if name not in HEADINGS[:n] else f"{name}#2" for n, name in enumerate(HEADINGS)]
    found = [{name: cell for name, cell in zip(names, one.cells, strict=True) if cell} for one in made]
    text = (
        "\n".join(json.dumps(row, ensure_ascii=False) for row in found)
        if lines
        else json.dumps(found, ensure_ascii=False)
    )
    path.write_text(text, "utf-8")
    return path
