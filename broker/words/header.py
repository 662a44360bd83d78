"""The members of the header: their titles, and what they mean. Their schema (`schemas/envelope`) has neither."""

from __future__ import annotations

from collections.abc import Mapping

from broker.words.said import Said

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
