"""French."""

from __future__ import annotations

from typing import Final

from hipnode import codes
from hipnode.domain import Attention, Decision, Side
from hipnode.reporting.languages.phrases import Phrases

PRESENT, DOUBTFUL, ABSENT = Decision.PRESENT, Decision.DOUBTFUL, Decision.ABSENT


def _images(numbers: str, count: int) -> str:
    return f"(image{'s' if count > 1 else ''} {numbers})"


def _left_out(count: int, of: int) -> str:
    return f"{count} image{'s' if count > 1 else ''} sur {of} non évaluée{'s' if count > 1 else ''}"


def _other_patients(count: int) -> str:
    ids = "un autre identifiant" if count == 1 else f"{count} autres identifiants"
    return (
        f"VÉRIFIER L'IDENTITÉ : cette étude contient des images sous {ids} de patient. Elles font "
        "l'objet de comptes rendus séparés, chaque image sous l'identifiant avec lequel elle est "
        "arrivée."
    )


FRENCH: Final = Phrases(
    language="fr",
    concept=codes.FRENCH,
    title="Lecture par IA de radiographies de la hanche",
    disclaimer="EN COURS D'ÉVALUATION - PAS POUR L'USAGE CLINIQUE",
    when={
        Attention.NOW: "À REGARDER MAINTENANT",
        Attention.SOON: "À regarder sous peu",
        Attention.ROUTINE: "À regarder dans l'ordre habituel",
    },
    hips={
        Side.RIGHT: "Hanche DROITE",
        Side.LEFT: "Hanche GAUCHE",
        Side.UNKNOWN: "Hanche, CÔTÉ INCONNU",
        None: "Hanches DROITE et GAUCHE",
    },
    either_hip="Hanche DROITE ou GAUCHE, non distinguées",
    letters={Side.RIGHT: "D", Side.LEFT: "G", Side.UNKNOWN: "?"},
    also=" et ",
    colon=" : ",
    then=" ; ",
    not_judged="ÉVALUATION IMPOSSIBLE",
    not_assessed="SANS ÉVALUATION",
    no_hip="aucune hanche n'y a été trouvée",
    look="À regarder soi-même maintenant.",
    without_ai="À lire sans l'IA",
    because="Seulement possible, car {}.",
    neither="Ni confirmation ni exclusion.",
    kind="Type : {}.",
    nhfd="Classe NHFD : {}.",
    nhfd_classes={
        "intracapsular": "intracapsulaire ; déplacée ou non, ce n'est pas dit",
        "intracapsular_undisplaced": "intracapsulaire, non déplacée",
        "intracapsular_displaced": "intracapsulaire, déplacée",
        "trochanteric": "trochantérienne ; A1-A2 ou A3, ce n'est pas dit",
        "trochanteric_a1_a2": "trochantérienne, A1-A2",
        "trochanteric_a3": "trochantérienne, A3",
        "subtrochanteric": "sous-trochantérienne",
    },
    reasons={
        "not_frontal": "pas une incidence de face du bassin ou de la hanche",
        "not_a_radiograph": "pas une radiographie",
        "child": "patient plus jeune que ceux pour qui le modèle est fait",
        "implant": "implant ou autre métal à la hanche",
        "unreadable": "qualité d'image insuffisante",
        "undecodable": "n'a pas pu être décodée",
        "too_small": "image trop petite",
        "pixel_shape": "forme des pixels inconnue",
        "hip_not_found": "aucune hanche complète trouvée",
        "side_unknown": "droite ou gauche non connue",
        "not_adult": "pas une hanche d'adulte, par sa taille ou sa forme",
        "out_of_distribution": "image différente de celles pour lesquelles le modèle est fait",
        "possible_metal": "il y a peut-être du métal à la hanche",
        "cut_off": "la hanche n'est pas entière sur l'image",
        "too_uncertain": "la hanche n'a pas pu être jugée",
        "other_frames": "d'autres vues en disent plus, ou n'ont pas été évaluées",
        "failed": "panne technique",
    },
    caveats={
        "unusual": "la hanche est différente de celles pour lesquelles le modèle est fait",
        "possible_metal": "il y a peut-être du métal à la hanche",
        "cut_off": "la hanche n'est pas entière sur l'image",
        "faint": "la hanche n'a pas été trouvée avec certitude",
        "view": "le modèle n'est pas validé pour cette incidence",
        "side_unsure": "le côté n'est pas certain",
        "side_unknown": "le côté n'est pas connu",
        "other_hip": "l'autre hanche n'a pas pu être jugée",
        "either_hip": "c'est l'une des deux hanches, sans savoir laquelle",
    },
    images=_images,
    left_out=_left_out,
    other_patients=_other_patients,
    image="Image {}",
    place={"series": "série {}", "image": "image {}", "frame": "vue {}"},
    failure="panne technique ({})",
    read="lue",
    note="Remarque (en anglais) : {}.",
    scope=(
        "Seul le fémur proximal a été évalué. Non évalués : anneau pelvien, acétabulum, diaphyse "
        "fémorale, rachis, parties molles. Les fractures que la radiographie ne montre pas ne sont "
        "pas trouvées."
    ),
    scope_short="Fémur proximal seul.",
    scan_scope=(
        "L'image d'une hanche prise par un densitomètre a été classée selon le risque de fracture. "
        "Aucune fracture n'a été recherchée et aucune densité osseuse n'a été mesurée."
    ),
    unknown_classes="Le modèle n'a jamais vu de fracture de ce type : {}.",
    model="Modèle {} {} ({}). {}",
    made="Fait par {} {} ({}) le {}.",
    moment="%d/%m/%Y à %H:%M",
    replaces="Version {} : remplace le compte rendu envoyé auparavant.",
    feedback="Juste ou faux ? Dites-le : {}",
    unreviewed="Non relu par un médecin.",
    maps="carte : {}, {}",
    legend={
        PRESENT: "probable",
        DOUBTFUL: "possible",
        ABSENT: "rien vu",
        None: "sans évaluation",
    },
    drawn_by={
        True: "Carte de chaleur par IA de {}. Modèle : {}.",
        False: "Résultat d'IA de {}. Modèle : {}.",
    },
    no_model="aucun n'a répondu",
    flags={
        "positive": "POSITIF",
        "look_now": "À REGARDER",
        "doubt": "DOUTE",
        "failed": "ÉCHEC",
        "not_assessed": "NON ÉVALUÉ",
        "none_seen": "RIEN VU",
    },
    ai="IA",
    patient=("Patient", "ID", "né(e) le", "examen", "demande"),
)
