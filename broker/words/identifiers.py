"""Identifiers in words: what each format names, what is checked of it and by which standard, and a value that passes.

The checks themselves are `broker.language.identifiers`; a test holds every format there to a row here, and every
specimen here to its check. Specimens are those of the standards or of public test suites, not of a known consignment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from broker.words.said import Said


class Identifier(NamedTuple):
    """`title`: what it is. `checked`: what is looked at."""

    title: Said
    checked: Said
    specimen: str


IDENTIFIERS: Mapping[str, Identifier] = {
    "iso6346": Identifier(
        Said("container", "contenedor"),
        Said(
            "owner code, U, J or Z, serial number, check digit (ISO 6346)",
            "código del propietario, U, J o Z, número de serie, dígito verificador (ISO 6346)",
        ),
        "CSQU3054383",
    ),
    "imo": Identifier(
        Said("IMO number of a ship", "número OMI de un buque"),
        Said(
            "7 digits, check digit (IMO Resolution A.1117(30)); IMO may stand in front",
            "7 cifras, dígito verificador (Resolución OMI A.1117(30)); puede llevar IMO delante",
        ),
        "9074729",
    ),
    "mmsi": Identifier(
        Said("MMSI of a ship", "MMSI de un buque"),
        Said(
            "9 digits; a ship's begins with those of its country, 201 to 775",
            "9 cifras; el de un buque comienza con las de su país, 201 a 775",
        ),
        "725000123",
    ),
    "flight": Identifier(
        Said("flight number", "número de vuelo"),
        Said(
            "airline (IATA or ICAO), 1 to 4 digits, perhaps a letter",
            "línea aérea (IATA u OACI), 1 a 4 cifras, quizá una letra",
        ),
        "LA530",
    ),
    "vin": Identifier(
        Said("vehicle identification number", "número de identificación de vehículo"),
        Said(
            "17 characters without I, O and Q; check digit for North America (49 CFR 565)",
            "17 caracteres sin I, O ni Q; dígito verificador para Norteamérica (49 CFR 565)",
        ),
        "1M8GDM9AXKP042788",
    ),
    "plate": Identifier(
        Said("licence plate", "placa o matrícula"),
        Said("2 to 12 letters and digits of any script", "2 a 12 letras y cifras de cualquier escritura"),
        "BBCL12",
    ),
    "seal": Identifier(
        Said("seal", "precinto"),
        Said("3 to 20 letters and digits of any script", "3 a 20 letras y cifras de cualquier escritura"),
        "UL-0471234",
    ),
    "awb": Identifier(
        Said("air waybill", "guía aérea"),
        Said(
            "3 digits of the airline, 7 digits, check digit (IATA Resolution 600a)",
            "3 cifras de la línea aérea, 7 cifras, dígito verificador (Resolución IATA 600a)",
        ),
        "176-12345675",
    ),
    "bill-of-lading": Identifier(
        Said("bill of lading", "conocimiento de embarque"),
        Said("4 to 35 letters and digits", "4 a 35 letras y cifras"),
        "MAEU123456789",
    ),
    "s10": Identifier(
        Said("postal item", "envío postal"),
        Said(
            "2 letters, 8 digits, check digit, country (UPU S10)",
            "2 letras, 8 cifras, dígito verificador, país (UPU S10)",
        ),
        "RB123456785GB",
    ),
    "mrn": Identifier(
        Said("movement reference number", "número de referencia del movimiento"),
        Said(
            "year, country, 13 characters, check digit (DG XXI/0879/99)",
            "año, país, 13 caracteres, dígito verificador (DG XXI/0879/99)",
        ),
        "06DE586600006143E1",
    ),
    "ucr": Identifier(
        Said("unique consignment reference", "referencia única de envío"),
        Said(
            "last digit of the year, country, 3 to 32 characters (WCO UCR)",
            "última cifra del año, país, 3 a 32 caracteres (RUE de la OMA)",
        ),
        "1GB123456789000-ABC/123",
    ),
    "document": Identifier(
        Said("number of a document", "número de un documento"),
        Said("3 to 40 letters and digits", "3 a 40 letras y cifras"),
        "VAP-2026/00417",
    ),
    "cas": Identifier(
        Said("CAS number of a substance", "número CAS de una sustancia"),
        Said("2 to 7 digits, 2 digits, check digit", "2 a 7 cifras, 2 cifras, dígito verificador"),
        "108-24-7",
    ),
    "gtin": Identifier(
        Said("trade item number (GTIN)", "número de artículo (GTIN)"),
        Said(
            "8, 12, 13 or 14 digits, the last one a check digit (GS1)",
            "8, 12, 13 o 14 cifras, la última verificadora (GS1)",
        ),
        "4006381333931",
    ),
    "imei": Identifier(
        Said("device (IMEI)", "dispositivo (IMEI)"),
        Said(
            "14, 15 or 16 digits; check digit where there is one (3GPP TS 23.003)",
            "14, 15 o 16 cifras; dígito verificador donde lo hay (3GPP TS 23.003)",
        ),
        "490154203237518",
    ),
    "hs": Identifier(
        Said("HS code", "código SA"),
        Said(
            "2, 4 or 6 digits; one that HS 2022 lacks is a warning",
            "2, 4 o 6 cifras; uno que falta en el SA 2022 es una advertencia",
        ),
        "240220",
    ),
    "un-number": Identifier(
        Said("UN number of dangerous goods", "número ONU de mercancía peligrosa"),
        Said("UN and 4 digits", "UN y 4 cifras"),
        "UN1203",
    ),
    "eccn": Identifier(
        Said("number of a dual-use list", "número de una lista de doble uso"),
        Said(
            "category 0 to 9, group A to E, 3 digits, perhaps more; or EAR99",
            "categoría 0 a 9, grupo A a E, 3 cifras, quizá más; o EAR99",
        ),
        "3A001",
    ),
    "passport": Identifier(
        Said("travel document", "documento de viaje"),
        Said(
            "5 to 9 letters and digits as printed, or 10 characters as machine-read, with check digit (ICAO 9303)",
            "5 a 9 letras y cifras como se imprime, o 10 caracteres de lectura mecánica, con dígito verificador (OACI 9303)",
        ),
        "L898902C3",
    ),
    "phone": Identifier(
        Said("telephone number", "número de teléfono"),
        Said("+ and 7 to 15 digits (ITU-T E.164)", "+ y 7 a 15 cifras (UIT-T E.164)"),
        "+18765550100",
    ),
    "iban": Identifier(
        Said("bank account (IBAN)", "cuenta bancaria (IBAN)"),
        Said(
            "country, check digits, account as the country has it (ISO 13616)",
            "país, dígitos verificadores, cuenta según el país (ISO 13616)",
        ),
        "GB82 WEST 1234 5698 7654 32",
    ),
    "lei": Identifier(
        Said("legal entity identifier (LEI)", "identificador de entidad jurídica (LEI)"),
        Said("18 characters, 2 check digits (ISO 17442)", "18 caracteres, 2 dígitos verificadores (ISO 17442)"),
        "5493001KJTIIGC8Y1R12",
    ),
    "eori": Identifier(
        Said("EORI number", "número EORI"),
        Said("country, 1 to 15 characters", "país, 1 a 15 caracteres"),
        "DE1234567",
    ),
    "excise": Identifier(
        Said("excise number (SEED)", "número de impuestos especiales (SEED)"),
        Said(
            "Member State, 11 characters, and what that state computes",
            "Estado miembro, 11 caracteres y lo que ese Estado calcula",
        ),
        "FR023004N9448",
    ),
    "consignee-hash": Identifier(
        Said("digest of a consignee", "resumen de un consignatario"),
        Said("keyed SHA-256, base64url, 43 characters", "SHA-256 con clave, base64url, 43 caracteres"),
        "Ab9_-Ab9_-Ab9_-Ab9_-Ab9_-Ab9_-Ab9_-Ab9_-Ab8",
    ),
    "iso3166-1-alpha-2": Identifier(
        Said("country", "país"),
        Said(
            "2 letters of ISO 3166-1, or XK; the usual mistakes (UK, EL) are explained",
            "2 letras de ISO 3166-1, o XK; los errores usuales (UK, EL) se explican",
        ),
        "CL",
    ),
    "iso3166-2": Identifier(
        Said("region of a country", "región de un país"),
        Said("a code of ISO 3166-2", "un código de ISO 3166-2"),
        "CL-VS",
    ),
    "locode": Identifier(
        Said("place (UN/LOCODE)", "lugar (UN/LOCODE)"),
        Said("country, 3 characters; XZ for international waters", "país, 3 caracteres; XZ para aguas internacionales"),
        "CLVAP",
    ),
    "iata-airport": Identifier(
        Said("airport (IATA)", "aeropuerto (IATA)"),
        Said(
            "3 letters; one that our table lacks is a warning",
            "3 letras; uno que falta en nuestra tabla es una advertencia",
        ),
        "SCL",
    ),
    "icao-airport": Identifier(
        Said("airport (ICAO)", "aeropuerto (OACI)"),
        Said(
            "4 letters; one that our table lacks is a warning",
            "4 letras; uno que falta en nuestra tabla es una advertencia",
        ),
        "SCEL",
    ),
    "iso4217": Identifier(Said("currency", "moneda"), Said("3 letters of ISO 4217", "3 letras de ISO 4217"), "USD"),
}
"""Format, as a schema names it -> what it is."""
