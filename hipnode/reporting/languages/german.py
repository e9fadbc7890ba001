"""German."""

from __future__ import annotations

from typing import Final

from hipnode import codes
from hipnode.domain import Attention, Decision, Side
from hipnode.reporting.languages.phrases import Phrases

PRESENT, DOUBTFUL, ABSENT = Decision.PRESENT, Decision.DOUBTFUL, Decision.ABSENT


def _images(numbers: str, count: int) -> str:
    return f"({'Bilder' if count > 1 else 'Bild'} {numbers})"


def _left_out(count: int, of: int) -> str:
    return f"{count} von {of} Bildern nicht beurteilt"


def _other_patients(count: int) -> str:
    ids = "einer anderen Patienten-ID" if count == 1 else f"{count} anderen Patienten-IDs"
    return (
        f"IDENTITÄT PRÜFEN: Diese Studie enthält Bilder unter {ids}. Sie werden getrennt befundet, "
        "jedes Bild unter der ID, mit der es kam."
    )


GERMAN: Final = Phrases(
    language="de",
    concept=codes.GERMAN,
    title="KI-Auswertung von Röntgenaufnahmen der Hüfte",
    disclaimer="NUR ZUR ERPROBUNG - NICHT FÜR DEN KLINISCHEN GEBRAUCH",
    when={
        Attention.NOW: "JETZT ANSEHEN",
        Attention.SOON: "Bald ansehen",
        Attention.ROUTINE: "In üblicher Reihenfolge ansehen",
    },
    hips={
        Side.RIGHT: "RECHTE Hüfte",
        Side.LEFT: "LINKE Hüfte",
        Side.UNKNOWN: "Hüfte, SEITE UNBEKANNT",
        None: "RECHTE und LINKE Hüfte",
    },
    either_hip="RECHTE oder LINKE Hüfte, nicht unterscheidbar",
    letters={Side.RIGHT: "R", Side.LEFT: "L", Side.UNKNOWN: "?"},
    also=" und ",
    colon=": ",
    then="; ",
    not_judged="NICHT BEURTEILBAR",
    not_assessed="NICHT BEURTEILT",
    no_hip="dort wurde keine Hüfte gefunden",
    look="Bitte jetzt selbst ansehen.",
    without_ai="Bitte ohne KI befunden",
    because="Nur möglich, denn {}.",
    neither="Weder bestätigt noch ausgeschlossen.",
    kind="Typ: {}.",
    nhfd="NHFD-Klasse: {}.",
    nhfd_classes={
        "intracapsular": "intrakapsulär; ob disloziert, ist nicht gesagt",
        "intracapsular_undisplaced": "intrakapsulär, nicht disloziert",
        "intracapsular_displaced": "intrakapsulär, disloziert",
        "trochanteric": "trochantär; ob A1-A2 oder A3, ist nicht gesagt",
        "trochanteric_a1_a2": "trochantär, A1-A2",
        "trochanteric_a3": "trochantär, A3",
        "subtrochanteric": "subtrochantär",
    },
    reasons={
        "not_frontal": "keine Frontalaufnahme von Becken oder Hüfte",
        "not_a_radiograph": "keine Röntgenaufnahme",
        "child": "jünger als die Patienten, für die das Modell gemacht ist",
        "implant": "Implantat oder anderes Metall an der Hüfte",
        "unreadable": "Bildqualität nicht ausreichend",
        "undecodable": "konnte nicht dekodiert werden",
        "too_small": "Bild zu klein",
        "pixel_shape": "Form der Bildpunkte unbekannt",
        "hip_not_found": "keine vollständige Hüfte gefunden",
        "side_unknown": "rechts oder links nicht bekannt",
        "not_adult": "nach Größe oder Form keine Hüfte eines Erwachsenen",
        "out_of_distribution": "anders als die Bilder, für die das Modell gemacht ist",
        "possible_metal": "möglicherweise Metall an der Hüfte",
        "cut_off": "Hüfte nicht vollständig im Bild",
        "too_uncertain": "die Hüfte ließ sich nicht beurteilen",
        "other_frames": "andere Einzelbilder sagen mehr oder wurden nicht beurteilt",
        "failed": "technischer Fehler",
    },
    caveats={
        "unusual": "die Hüfte ist anders als die, für die das Modell gemacht ist",
        "possible_metal": "an der Hüfte liegt möglicherweise Metall",
        "cut_off": "die Hüfte ist nicht vollständig im Bild",
        "faint": "die Hüfte wurde nicht sicher gefunden",
        "view": "für diese Projektion ist das Modell nicht validiert",
        "side_unsure": "die Seite ist nicht sicher",
        "side_unknown": "die Seite ist nicht bekannt",
        "other_hip": "die andere Hüfte ließ sich nicht beurteilen",
        "either_hip": "es ist eine der beiden Hüften, unklar welche",
    },
    images=_images,
    left_out=_left_out,
    other_patients=_other_patients,
    image="Bild {}",
    place={"series": "Serie {}", "image": "Bild {}", "frame": "Einzelbild {}"},
    failure="technischer Fehler ({})",
    read="ausgewertet",
    note="Hinweis (englisch): {}.",
    scope=(
        "Beurteilt wurde nur das proximale Femur. Nicht beurteilt: Beckenring, Azetabulum, "
        "Femurschaft, Wirbelsäule, Weichteile. Frakturen, die das Röntgenbild nicht zeigt, werden "
        "nicht gefunden."
    ),
    scope_short="Nur proximales Femur.",
    scan_scope=(
        "Eine Densitometer-Aufnahme einer Hüfte wurde nach Frakturrisiko eingestuft. Nach einer "
        "Fraktur wurde nicht gesucht, eine Knochendichte nicht gemessen."
    ),
    unknown_classes="Frakturen dieser Art hat das Modell nie gesehen: {}.",
    model="Modell {} {} ({}). {}",
    made="Erstellt von {} {} ({}) am {}.",
    moment="%d.%m.%Y um %H:%M",
    replaces="Version {}: ersetzt den zuvor gesendeten Befund.",
    feedback="Richtig oder falsch? Hier sagen: {}",
    unreviewed="Nicht ärztlich geprüft.",
    maps="Karte: {}, {}",
    legend={
        PRESENT: "wahrscheinlich",
        DOUBTFUL: "möglich",
        ABSENT: "nichts erkannt",
        None: "nicht beurteilt",
    },
    drawn_by={
        True: "KI-Wärmebild von {}. Modell: {}.",
        False: "KI-Ergebnis von {}. Modell: {}.",
    },
    no_model="keines hat geantwortet",
    flags={
        "positive": "POSITIV",
        "look_now": "JETZT ANSEHEN",
        "doubt": "FRAGLICH",
        "failed": "FEHLER",
        "not_assessed": "UNBEURTEILT",
        "none_seen": "NICHTS ERKANNT",
    },
    ai="KI",
    patient=("Patient", "ID", "geboren", "Studie", "Auftrag"),
)
