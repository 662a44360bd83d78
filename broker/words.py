"""Words that no schema and no code list has, in English and Spanish: members of the header, values of an `enum`, names
of the shared parts, and what our pages say themselves.

Data alone. What a schema or a list calls something is read from there: see `titles`. Sentences about faults are in
`broker/phrases/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LANGUAGES = ("en", "es")


class Said(NamedTuple):
    """The same thing in both languages."""

    en: str
    es: str

    def in_(self, language: str) -> str:
        """In `language` ("es", "es-CL"), or in English."""
        return self.es if language[:2] == "es" else self.en


HEADER: Mapping[str, tuple[Said, Said]] = {
    "id": (
        Said("Id", "Id"),
        Said(
            "Your own number of this message; never used twice.", "Su propio número de este mensaje; nunca se repite."
        ),
    ),
    "kind": (
        Said("Kind", "Clase"),
        Said(
            "What the body is; a withdrawal has the kind of what it withdraws.",
            "Qué es el cuerpo; un retiro lleva la clase de lo que retira.",
        ),
    ),
    "version": (
        Said("Version", "Versión"),
        Said("Version of the kind's schema.", "Versión del esquema de la clase."),
    ),
    "originator": (
        Said("From", "De"),
        Said(
            "The member that signs: its key must be enrolled for it.",
            "El miembro que firma: su clave debe estar inscrita a su nombre.",
        ),
    ),
    "status": (
        Said("Status", "Estado"),
        Said("Real, an exercise, or a test.", "Real, un ejercicio o una prueba."),
    ),
    "event_at": (
        Said("Time of the event", "Momento del hecho"),
        Said(
            "When it happened, with the offset of the place; not when it is reported.",
            "Cuándo ocurrió, con el desfase del lugar; no cuándo se informa.",
        ),
    ),
    "priority": (
        Said("Priority", "Prioridad"),
        Said(
            "For filters and for the eye; nothing is reordered by it.",
            "Para filtros y para quien lee; no cambia el orden de nada.",
        ),
    ),
    "case": (
        Said("Case", "Caso"),
        Said("Your own case reference.", "Su propia referencia del caso."),
    ),
    "language": (
        Said("Language", "Idioma"),
        Said("Language of what is written freely.", "Idioma de lo que se escribe libremente."),
    ),
    "supersedes": (
        Said("Supersedes", "Reemplaza a"),
        Said(
            "Address of the latest version, which this one replaces.",
            "Dirección de la última versión, a la que esta reemplaza.",
        ),
    ),
    "withdraws": (
        Said("Withdraws", "Retira"),
        Said("Address of the latest version, which is withdrawn.", "Dirección de la última versión, que se retira."),
    ),
    "in_reply_to": (
        Said("In reply to", "En respuesta a"),
        Said("Address of the message that this one answers.", "Dirección del mensaje al que este responde."),
    ),
    "references": (
        Said("References", "Referencias"),
        Said("Addresses of other messages that matter here.", "Direcciones de otros mensajes que importan aquí."),
    ),
    "expires_at": (
        Said("Expires", "Vence"),
        Said("From then on it is handed to nobody.", "Desde entonces no se entrega a nadie."),
    ),
    "acknowledge_by": (
        Said("Acknowledge by", "Acusar recibo hasta"),
        Said("Until when recipients are asked to acknowledge.", "Hasta cuándo se pide el acuse de recibo."),
    ),
    "legal_basis": (
        Said("Legal basis", "Base legal"),
        Said(
            "In words. Needed with a nominal part, and with kinds that say so.",
            "En palabras. Necesaria con una parte nominal y en las clases que lo indican.",
        ),
    ),
    "grading": (
        Said("Grading", "Evaluación"),
        Said(
            "Of source and information, in the scheme in which it was given.",
            "De la fuente y de la información, en el esquema en que se dio.",
        ),
    ),
    "grading/scheme": (Said("Scheme", "Esquema"), Said("Which scheme.", "Qué esquema.")),
    "grading/source": (
        Said("Source", "Fuente"),
        Said("Grade of the source in that scheme.", "Grado de la fuente en ese esquema."),
    ),
    "grading/information": (
        Said("Information", "Información"),
        Said("Grade of the information in that scheme.", "Grado de la información en ese esquema."),
    ),
    "handling": (
        Said("Handling", "Tratamiento"),
        Said("Who may see it, and on what conditions.", "Quién puede verlo y en qué condiciones."),
    ),
    "handling/tlp": (
        Said("Marking (TLP)", "Marca (TLP)"),
        Said(
            "Traffic Light Protocol 2.0. RED is released to named members only, AMBER to groups too, GREEN and CLEAR to all.",
            "Traffic Light Protocol 2.0. RED se difunde solo a miembros con nombre, AMBER también a grupos, GREEN y CLEAR a todos.",
        ),
    ),
    "handling/caveats": (
        Said("Caveats", "Reservas"),
        Said("Conditions in words, such as “no use in court”.", "Condiciones en palabras, como «sin uso judicial»."),
    ),
    "handling/release": (
        Said("Released to", "Difusión a"),
        Said(
            "To whom; null in a withdrawal alone, which goes to those who hold the message.",
            "A quién; null solo en un retiro, que va a quienes tienen el mensaje.",
        ),
    ),
    "handling/release/to": (
        Said("Members", "Miembros"),
        Said("Members by name, each with its duties.", "Miembros con nombre, cada uno con sus tareas."),
    ),
    "handling/release/to/*": (Said("Member", "Miembro"), Said("One member.", "Un miembro.")),
    "handling/release/to/*/member": (Said("Member", "Miembro"), Said("Its id.", "Su id.")),
    "handling/release/to/*/duties": (
        Said("Duties", "Tareas"),
        Said("What it is asked to do; for information, if left out.", "Qué se le pide; para información, si se omite."),
    ),
    "handling/release/groups": (
        Said("Groups", "Grupos"),
        Said(
            "Groups and operations that you are in yourself.", "Grupos y operaciones de los que usted mismo es parte."
        ),
    ),
    "handling/release/all": (
        Said("All", "Todos"),
        Said(
            "All customs and liaison offices; partners too, if CLEAR.",
            "Todas las aduanas y oficinas de enlace; también asociados, si es CLEAR.",
        ),
    ),
    "handling/release/except": (
        Said("Except", "Excepto"),
        Said(
            "Members who do not get it, whatever else is said.",
            "Miembros que no lo reciben, diga lo que diga el resto.",
        ),
    ),
}
"""Member of the header, as a pointer below `/header` with `*` for an index -> its title, and what it means."""

VALUES: Mapping[str, Said] = {
    "found": Said("found", "hallado"),
    "declared": Said("declared", "declarado"),
    "verified": Said("verified", "verificado"),
    "believed-false": Said("believed false", "tenido por falso"),
    "exact": Said("exact", "exacta"),
    "town": Said("town", "localidad"),
    "region": Said("region", "región"),
    "country": Said("country", "país"),
    "minute": Said("to the minute", "al minuto"),
    "day": Said("to the day", "al día"),
    "month": Said("to the month", "al mes"),
    "year": Said("to the year", "al año"),
    "origin": Said("origin", "origen"),
    "departure": Said("departure", "salida"),
    "via": Said("via", "vía"),
    "destination": Said("destination", "destino"),
    "none": Said("none", "ninguno"),
    "genuine": Said("genuine", "auténtica"),
    "counterfeit": Said("counterfeit", "falsificada"),
    "foreign": Said("foreign", "extranjera"),
    "unknown": Said("unknown", "no se sabe"),
    "actual": Said("real", "real"),
    "exercise": Said("exercise, not real", "ejercicio, no es real"),
    "test": Said("test, not real", "prueba, no es real"),
    "routine": Said("routine", "normal"),
    "priority": Said("priority", "prioritaria"),
    "urgent": Said("urgent", "urgente"),
    "action": Said("for action", "para actuar"),
    "attention": Said("for attention", "para atención"),
    "information": Said("for information", "para información"),
    "admiralty": Said("Admiralty", "Almirantazgo"),
    "full": Said("full", "completa"),
    "partial": Said("partial", "parcial"),
    "nothing-known": Said("nothing known", "nada consta"),
    "refused": Said("refused", "denegada"),
    "consent-given": Said("consent given", "se consiente"),
    "consent-refused": Said("consent refused", "no se consiente"),
    "suspended": Said("suspended", "suspendido"),
    "revoked": Said("revoked", "revocado"),
    "all": Said("all of them", "todos"),
    "any": Said("any of them", "alguno"),
    "long": Said("long", "completo"),
    "simplified": Said("simplified", "simplificado"),
    "is": Said("is", "es"),
    "is-not": Said("is not", "no es"),
    "starts-with": Said("starts with", "empieza por"),
    "contains": Said("contains", "contiene"),
    "at-least": Said("at least", "al menos"),
    "at-most": Said("at most", "como máximo"),
    "hs": Said("HS code", "código SA"),
    "description": Said("description", "descripción"),
    "mode": Said("mode of transport", "modo de transporte"),
    "container": Said("container", "contenedor"),
    "vessel": Said("vessel", "buque"),
    "flight": Said("flight", "vuelo"),
    "awb-prefix": Said("air waybill prefix", "prefijo de guía aérea"),
    "carrier": Said("carrier", "transportista"),
    "consignor": Said("consignor", "expedidor"),
    "consignee": Said("consignee", "consignatario"),
    "weight": Said("weight", "peso"),
    "value": Said("value", "valor"),
    "packages": Said("packages", "bultos"),
    "procedure": Said("procedure", "régimen"),
    "first-trade": Said("first trade", "primera operación"),
}
"""A word of an `enum` as people read it. What is missing is read as it stands: letters, numbers, TLP, media types."""

PARTS: Mapping[str, Said] = {
    "awb": Said("Air waybill", "Guía aérea"),
    "bill": Said("Bill of lading", "Conocimiento de embarque"),
    "block-alcohol": Said("Alcohol", "Alcohol"),
    "block-counterfeits": Said("Counterfeit", "Falsificación"),
    "block-cultural": Said("Cultural object", "Bien cultural"),
    "block-currency": Said("Money", "Dinero"),
    "block-drugs": Said("Drugs", "Drogas"),
    "block-environment": Said("Waste or ozone-depleting substance", "Residuo o sustancia que agota el ozono"),
    "block-food": Said("Food", "Alimento"),
    "block-medicines": Said("Medicine", "Medicamento"),
    "block-precursors": Said("Precursor", "Precursor"),
    "block-radioactive": Said("Nuclear or radioactive material", "Material nuclear o radiactivo"),
    "block-revenue": Said("Revenue fraud", "Fraude fiscal"),
    "block-strategic": Said("Strategic goods", "Bienes estratégicos"),
    "block-tobacco": Said("Tobacco", "Tabaco"),
    "block-weapons": Said("Weapon, ammunition or explosive", "Arma, munición o explosivo"),
    "block-wildlife": Said("Wildlife", "Fauna y flora"),
    "cas": Said("CAS number", "Número CAS"),
    "company": Said("Company", "Empresa"),
    "container": Said("Container", "Contenedor"),
    "document": Said("Document", "Documento"),
    "excise": Said("Excise number", "Número de impuestos especiales"),
    "flight": Said("Flight", "Vuelo"),
    "goods-line": Said("Goods found or declared", "Mercancía hallada o declarada"),
    "goods-sought": Said("Goods sought", "Mercancía buscada"),
    "gtin": Said("Trade item number", "Número de artículo"),
    "imei": Said("Device (IMEI)", "Dispositivo (IMEI)"),
    "imo": Said("IMO number", "Número OMI"),
    "leg": Said("Leg of a route", "Tramo de una ruta"),
    "locode": Said("UN/LOCODE", "UN/LOCODE"),
    "mmsi": Said("MMSI", "MMSI"),
    "money": Said("Money amount", "Importe"),
    "mrn": Said("Movement reference number", "Número de referencia del movimiento"),
    "nominal": Said("Nominal part", "Parte nominal"),
    "not-given": Said("What is not given", "Lo que no se da"),
    "parcel": Said("Postal item", "Envío postal"),
    "period": Said("Period", "Período"),
    "person": Said("Person", "Persona"),
    "persons-counted": Said("Persons, counted", "Personas, contadas"),
    "picture": Said("Picture or scan", "Imagen o escaneo"),
    "pictures": Said("Pictures and scans", "Imágenes y escaneos"),
    "place": Said("Place", "Lugar"),
    "plate": Said("Licence plate", "Placa o matrícula"),
    "position": Said("Position", "Posición"),
    "quantity": Said("Quantity", "Cantidad"),
    "quoted": Said("Message quoted", "Mensaje citado"),
    "remarks": Said("Remarks", "Observaciones"),
    "route": Said("Route", "Ruta"),
    "seal": Said("Seal", "Precinto"),
    "source": Said("Source", "Fuente"),
    "sources": Said("Sources", "Fuentes"),
    "standing": Said("Standing of an identifier", "Situación de un identificador"),
    "text": Said("Text", "Texto"),
    "transport": Said("Transport", "Transporte"),
    "transport-document": Said("Transport document", "Documento de transporte"),
    "transport-sought": Said("Transport sought", "Transporte buscado"),
    "ucr": Said("Unique consignment reference", "Referencia única de envío"),
    "un": Said("UN number", "Número ONU"),
    "validity": Said("Validity", "Vigencia"),
    "vessel": Said("Vessel", "Buque"),
    "vin": Said("Vehicle identification number", "Número de identificación del vehículo"),
}
"""A shared part (`schemas/common`) -> what it is."""

PAGE: Mapping[str, Said] = {
    "state": Said("State at the hub", "Estado en el centro"),
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
    "accepted": Said("Accepted by the hub", "Aceptado por el centro"),
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
    "editions": Said("Code lists, as read", "Listas de códigos usadas"),
    "header": Said("Header", "Cabecera"),
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
"""What a page that shows a message says itself."""

ABOUT: Mapping[str, str] = {
    "alert": "Una alerta: qué deben buscar ahora los demás, por qué, y qué se les pide",
    "bulletin": "El producto de una oficina de enlace: qué concluye de lo que ha visto, con sus fuentes",
    "comment": "Una observación sobre el registro de otro, o su aval: el registro sigue siendo de quien lo originó",
    "envelope": "La carga de un mensaje firmado: qué dice la cabecera al centro, y el cuerpo de su clase",
    "membership": "Un cambio de puntos de contacto u oficinas, notificado formalmente",
    "notice": "Lo que el propio centro dice a un miembro; nadie más puede originarlo",
    "outcome": "Qué resultó de una alerta o de un control",
    "reply": "La respuesta a una solicitud",
    "request": "Una solicitud de información, de un control, o de consentimiento para transmitir algo",
    "risk-profile": "Una regla de selección que las máquinas pueden leer",
    "seizure": "Un informe de incautación: qué se halló, dónde, cómo viajó y cómo iba oculto",
    "situation-report": "En qué punto está una operación",
    "trader-status": "La situación de un operador de confianza, para el reconocimiento mutuo",
    "withdrawal": "El cuerpo de un retiro, cualquiera que sea la clase de lo que retira",
}
"""What a kind is for, in Spanish; in English its schema says so (`title`)."""
