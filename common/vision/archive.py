"""A data set of pictures as a table, for `espalier data check`: a tar of `<folder of the kind>/.../<name>.jpg`."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.data.audit import Finding
from common.data.card import DatasetCard
from common.errors import DataError
from common.vision.duplicates import near_duplicates, thumbnail
from common.vision.images import decode_grey


def check_pictures(card: DatasetCard, paths: Mapping[str, Path]) -> list[Finding]:
    """What the audit of pictures finds: another number than the card says is an error, near-duplicates a warning.

    When the card's second file lists the training pictures of a published split, it also says how many pictures
    outside the list have a near-duplicate in it: the split leaks.
    """
    archive = paths[card.files[0].path]
    names, thumbnails = [], []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith((".jpg", ".bmp")):
                file = tar.extractfile(member)
                assert file is not None
                thumbnails.append(thumbnail(decode_grey(file.read(), f"{archive.name}: {member.name}")))
                names.append(member.name.rpartition("/")[2])
    if not names:
        raise DataError("no picture in this archive", where=str(archive), expected="members ending in .jpg or .bmp")
    findings = []
    if len(names) != card.rows:
        text = f"The archive has {len(names):,} pictures, the card says {card.rows:,}."
        findings.append(Finding(level="error", check="rows", sentence=text))
    found = np.array(thumbnails)
    twins = sum(near_duplicates(found[[i]], np.delete(found, i, axis=0))[0] for i in range(len(found)))
    if twins:
        text = f"{twins:,} of {len(names):,} pictures have a near-duplicate: the same part again? Split by part."
        findings.append(Finding(level="warning", check="duplicates", sentence=text))
    if len(card.files) > 1:
        listed = np.isin(names, paths[card.files[1].path].read_text(encoding="utf-8").split())
        leaked = int(near_duplicates(found[~listed], found[listed]).sum())
        if leaked:
            text = f"{leaked:,} of the {(~listed).sum():,} pictures outside {card.files[1].path} have one in it: "
            text += "this published split leaks."
            findings.append(Finding(level="warning", check="leak", sentence=text))
    return findings
