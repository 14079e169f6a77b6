"""The audit of pictures for `espalier data check`: a published archive against its card, or a folder of your own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from common.data.audit import Audit, Finding
from common.data.card import DatasetCard
from common.errors import DataError
from common.vision.duplicates import near_duplicates, own_structure, parts_of, thumbnail
from common.vision.files import open_files
from common.vision.folders import GOOD, PictureFolder, read_folder
from common.vision.images import decode_grey

FEW = 10
"""Pictures of a kind below which a rate by kind says little: of 10, 8 found means 49 % to 94 %."""
UNEVEN = 20
"""Largest kind by smallest."""
SHOWN = 20
"""Files named one by one."""


def check_pictures(card: DatasetCard, paths: Mapping[str, Path]) -> list[Finding]:
    """What the audit of pictures finds: another number than the card says is an error, near-duplicates a warning.

    When the card's second file lists the training pictures of a published split, it also says how many pictures
    outside the list have a near-duplicate in it: the split leaks.
    """
    archive = paths[card.files[0].path]
    names, thumbnails = [], []
    with open_files(archive) as (files, _):
        for file in files:
            if file.name.endswith((".jpg", ".bmp")):
                thumbnails.append(thumbnail(decode_grey(file.content, f"{archive.name}: {file.name}")))
                names.append(file.name.rpartition("/")[2])
    if not names:
        raise DataError("no picture in this archive", where=str(archive), expected="members ending in .jpg or .bmp")
    findings = []
    if len(names) != card.rows:
        text = f"The archive has {len(names):,} pictures, the card says {card.rows:,}."
        findings.append(_finding("error", "rows", text))
    found = own_structure(np.array(thumbnails))
    findings += _duplicates(parts_of(found))
    if len(card.files) > 1:
        listed = np.isin(names, paths[card.files[1].path].read_text(encoding="utf-8").split())
        leaked = int(near_duplicates(found[~listed], found[listed]).sum())
        if leaked:
            text = f"{leaked:,} of the {(~listed).sum():,} pictures outside {card.files[1].path} have one in it: "
            findings.append(_finding("warning", "leak", f"{text}this published split leaks."))
    return findings


def check_arrays(paths: Mapping[str, Path]) -> Iterator[Finding]:
    """What `<part>_images` and `<part>_labels` in npz files hold, and copies of a picture within a file."""
    for path in paths.values():
        with np.load(path) as arrays:
            parts = [name.removesuffix("_images") for name in arrays.files if name.endswith("_images")]
            pictures = [picture.tobytes() for part in parts for picture in arrays[f"{part}_images"]]
            for part in parts:
                counts = Counter(arrays[f"{part}_labels"].ravel().tolist())
                told = ", ".join(f"{label} ({count:,})" for label, count in sorted(counts.items()))
                yield _finding("note", "labels", f"{path.name}: the labels of {part} are {told}.")
        if copies := len(pictures) - len(set(pictures)):
            yield _finding("warning", "duplicates", f"{path.name}: {copies:,} pictures stand there more than once.")


def check_folder(source: Path) -> Audit:
    """What a folder or archive of your own holds, and what in it would spoil a number; only thumbnails stay in memory.

    Raises what `read_folder` raises.
    """
    found = read_folder(source, keep=False)
    own = own_structure(found.thumbnail)
    alike = parts_of(own)
    findings = [*_kinds(found), *_parts(found), *_duplicates(alike), *_between(found, own), *_conflicts(found, alike)]
    findings += [*_masks(found), *_left_out(found), *_shapes(found), *_others(found)]
    findings.sort(key=lambda finding: ("error", "warning", "note").index(finding.level))
    return Audit(dataset=str(source), findings=tuple(findings))


def _kinds(found: PictureFolder) -> Iterator[Finding]:
    counts = Counter(found.kind.tolist())
    told = ", ".join(f"{kind} {count:,}" for kind, count in counts.most_common())
    yield _finding("note", "kinds", f"{len(found):,} pictures: {told}.")
    if len(counts) == 1:
        yield _finding("warning", "kinds", "No picture shows a defect: a model can be trained, but not evaluated.")
    for kind, count in counts.items():
        if count < FEW:
            yield _finding(
                "warning", "imbalance", f"Kind {kind} has {count} pictures: too few to say how many are found."
            )
    if (ratio := max(counts.values()) / min(counts.values())) > UNEVEN:
        text = f"The largest kind has {ratio:.0f} times as many pictures as the smallest: report every kind apart."
        yield _finding("warning", "imbalance", text)


def _parts(found: PictureFolder) -> Iterator[Finding]:
    parts, good = len(np.unique(found.part)), len(np.unique(found.part[found.kind == GOOD]))
    source = "tiles.csv" if found.parts_known else "near-duplicates joined, for want of a tiles.csv"
    yield _finding("note", "parts", f"{parts:,} parts, {good:,} of them good ({source}).")


def _between(found: PictureFolder, own: np.ndarray) -> Iterator[Finding]:
    """Pictures of the test with a near-duplicate in training, where the folders say which is which."""
    train = found.split == "train"
    leaked = near_duplicates(own[~train], own[train])
    if count := int(leaked.sum()):
        first = found.name[~train][leaked][0]
        text = f"{count:,} of {(~train).sum():,} test pictures have a near-duplicate in train, such as {first}: "
        yield _finding("warning", "leak", f"{text}it flatters a model trained on it.")


def _conflicts(found: PictureFolder, alike: np.ndarray) -> Iterator[Finding]:
    kinds = Counter(part for part, _ in set(zip(alike.tolist(), found.kind.tolist(), strict=True)))
    if mixed := sorted(part for part, count in kinds.items() if count > 1):
        names = found.name[alike == mixed[0]]
        text = f"Is a label wrong? Groups of near-duplicates that hold several kinds: {len(mixed):,}, such as"
        yield _finding("warning", "conflict", f"{text} {', '.join(names[:4])}.")


def _masks(found: PictureFolder) -> Iterator[Finding]:
    defective = [mask for mask, kind in zip(found.mask, found.kind, strict=True) if kind != GOOD]
    known = [mask for mask in defective if mask is not None]
    if defective:
        yield _finding("note", "masks", f"{len(known):,} of {len(defective):,} defective pictures have a mask.")
    if empty := sum(not mask.any() for mask in known):
        yield _finding("warning", "masks", f"Masks of defective pictures that mark nothing: {empty:,}.")


def _left_out(found: PictureFolder) -> Iterator[Finding]:
    for one in found.left_out[:SHOWN]:
        yield _finding("warning", "unreadable", f"Left out {one.file}: {one.reason}")
    if (more := len(found.left_out) - SHOWN) > 0:
        yield _finding("warning", "unreadable", f"Left out {more:,} more files.")


def _shapes(found: PictureFolder) -> Iterator[Finding]:
    sizes = [f"{width} x {height}" for height, width in found.shape]
    for what, counts in (("sizes", Counter(sizes)), ("modes", Counter(found.mode))):
        if len(counts) > 1:
            told = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(4))
            more = f" and {len(counts) - 4:,} more" if len(counts) > 4 else ""
            yield _finding("note", what, f"The pictures have {len(counts):,} {what}: {told}{more}.")


def _others(found: PictureFolder) -> Iterator[Finding]:
    if found.others:
        text = f"Not read, for no pictures by their name: {len(found.others):,}, such as {found.others[0]}."
        yield _finding("note", "others", text)


def _duplicates(parts: np.ndarray) -> Iterator[Finding]:
    sizes = np.bincount(parts)
    if twins := int(sizes[sizes > 1].sum()):
        text = f"{twins:,} of {len(parts):,} pictures have a near-duplicate: the same part again? Split by part."
        yield _finding("warning", "duplicates", text)


def _finding(level: Literal["error", "warning", "note"], check: str, sentence: str) -> Finding:
    return Finding(level=level, check=check, sentence=sentence)
